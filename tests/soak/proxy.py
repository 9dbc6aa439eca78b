"""A fault-injecting TCP proxy between one worker and the broker: loses a chosen EndTxn, delays, cuts, refuses.

Frames are forwarded as they are, but for the broker's address in Metadata, FindCoordinator and DescribeCluster: the
proxy's port replaces the broker's there (same length), so that a worker stays behind the proxy.
Layouts of frames: https://kafka.apache.org/protocol.html .
"""

import asyncio
import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Self


class Api(IntEnum):
    """The requests that the proxy reads."""

    PRODUCE = 0
    METADATA = 3
    FIND_COORDINATOR = 10
    INIT_PRODUCER_ID = 22
    END_TXN = 26
    DESCRIBE_CLUSTER = 60


ADDRESS_RESPONSES = frozenset({Api.METADATA, Api.FIND_COORDINATOR, Api.DESCRIBE_CLUSTER})
END_REQUESTS = frozenset({Api.END_TXN, Api.INIT_PRODUCER_ID})
FIRST_FLEXIBLE = {Api.PRODUCE: 9, Api.END_TXN: 3}  # from here on: compact strings, varint lengths, tagged fields
PRODUCE_BY_TOPIC_ID = 13
INVALID_RECORD = 87

ACCEPT_GRACE_S = 0.05  # from the connection of a client to the begin of its task

WrittenRecords = frozenset[tuple[str, int, int]]
"""(topic, partition, first offset) of the produce requests of a transaction that the broker has accepted."""


class EndTxnLoss(StrEnum):
    """What of an EndTxn is lost."""

    REQUEST = "request"  #: It never reaches the broker: the transaction is aborted.
    RESPONSE = "response"  #: The broker has committed, the worker does not learn it.


@dataclass(frozen=True, slots=True)
class EndTxnFault:
    """What happens at the `nth` EndTxn that commits records, counted from `set_fault` on.

    `on_trigger` is called in the proxy's thread, before the connections are cut: to kill the worker while the request
    is held. For `outage_s` after that every connection is refused. `keep_connections`: nothing is cut, this request or
    this response alone is lost, so that the consumer stays a member.
    """

    loss: EndTxnLoss
    nth: int = 1
    outage_s: float = 0.0
    keep_connections: bool = False
    on_trigger: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class TriggeredFault:
    """An EndTxn fault that was injected, and what the transaction had written by then."""

    loss: EndTxnLoss
    written: WrittenRecords


class _FrameReader:
    """Reads the primitive types of the protocol, in order."""

    def __init__(self, frame: bytes, *, flexible: bool) -> None:
        self._frame = memoryview(frame)
        self._at = 0
        self._flexible = flexible

    @property
    def at(self) -> int:
        """How many bytes were read."""
        return self._at

    def number(self, width: int) -> int:
        number = int.from_bytes(self._frame[self._at : self._at + width], "big", signed=True)
        self._at += width
        return number

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._frame[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def string(self) -> str | None:
        length = self.varint() - 1 if self._flexible else self.number(2)
        if length < 0:
            return None
        text = bytes(self._frame[self._at : self._at + length]).decode()
        self._at += length
        return text

    def array(self) -> range:
        return range(self.varint() - 1 if self._flexible else self.number(4))

    def tags(self) -> None:
        if self._flexible:
            for _ in range(self.varint()):
                self.varint()
                self._at += self.varint()


@dataclass(frozen=True, slots=True)
class Request:
    """The header of a request. `commits` is None unless it is an EndTxn."""

    api: int
    version: int
    correlation: int
    commits: bool | None


def read_request(frame: bytes) -> Request:
    """The header of a request frame (without its length)."""
    api, version, correlation = struct.unpack_from(">hhi", frame)
    if api != Api.END_TXN:
        return Request(api, version, correlation, None)
    flexible = version >= FIRST_FLEXIBLE[Api.END_TXN]
    client_length = max(0, struct.unpack_from(">h", frame, 8)[0])  # the header's client id is never compact
    body = _FrameReader(frame[10 + client_length :], flexible=flexible)
    body.tags()
    body.string()
    body.number(8)
    body.number(2)
    return Request(api, version, correlation, bool(body.number(1)))


def accepted_records(frame: bytes, version: int) -> Iterator[tuple[str, int, int]]:
    """(topic, partition, first offset) of each partition that a Produce response (without its length) accepts."""
    for topic, partition, error, first, _ in _produce_results(frame, version):
        if error == 0:
            yield topic, partition, first


def refuse_records(frame: bytes, version: int) -> bytes:
    """A Produce response that refuses what `frame` accepts, as that of a broker that finds a record invalid."""
    changed = bytearray(frame)
    for *_, at in _produce_results(frame, version):
        changed[at : at + 2] = INVALID_RECORD.to_bytes(2, "big")
    return bytes(changed)


def _produce_results(frame: bytes, version: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Topic, partition, error, first offset of each partition of a Produce response; and where in it the error is."""
    if version >= PRODUCE_BY_TOPIC_ID:
        raise AssertionError(f"Produce version {version} names topics by id: teach the proxy to read it")
    body = _FrameReader(frame[4:], flexible=version >= FIRST_FLEXIBLE[Api.PRODUCE])
    body.tags()
    for _ in body.array():
        topic = body.string() or ""
        for _ in body.array():
            partition, at = body.number(4), 4 + body.at
            error, first = body.number(2), body.number(8)
            if version >= 2:
                body.number(8)
            if version >= 5:
                body.number(8)
            if version >= 8:
                for _ in body.array():
                    body.number(4)
                    body.string()
                    body.tags()
                body.string()
            body.tags()
            yield topic, partition, error, first, at
        body.tags()


def end_txn_succeeded(frame: bytes, version: int) -> bool:
    """Whether an EndTxn response (without its length) reports success. False: the client retries."""
    body = _FrameReader(frame[4:], flexible=version >= FIRST_FLEXIBLE[Api.END_TXN])
    body.tags()
    body.number(4)
    return body.number(2) == 0


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    requests: dict[int, Request] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)  # correlation ids of Produce requests whose records are refused
    end_txn_correlation: int | None = None  # of the EndTxn whose response is lost
    fault: EndTxnFault | None = None

    def cut(self) -> None:
        for writer in (self.client, self.broker):
            writer.transport.abort()


class Proxy:
    """A loopback port that forwards to the broker. A context manager; its event loop runs in a thread of its own."""

    def __init__(self, upstream: str, *, ignored_topic: str) -> None:
        """`ignored_topic`: what is written there does not count as written; a transaction with nothing else carries
        positions alone."""
        host, _, port = upstream.partition(":")
        self._upstream = (host, int(port))
        self._ignored_topic = ignored_topic
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._fault: EndTxnFault | None = None
        self._seen_count = 0
        self._drop_commits = False  # a client may send the lost EndTxn again, on a new connection
        self._outage_until = 0.0
        self._written: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()
        self.port = 0
        self.delay_s = 0.0  #: Added before each request.
        self.hold_end_txn = False  #: While it is true, no request that ends a transaction is forwarded.
        self.refuse_containing = b""
        """The response to an uncompressed Produce with these bytes in it becomes INVALID_RECORD. The broker has stored
        its records all the same; the client, which believes it has not, aborts them."""
        self.connection_count = 0  #: Connections that the worker has made.
        self.commit_count = 0  #: Committing EndTxn requests to which the broker has responded.
        self.triggered_faults: list[TriggeredFault] = []

    @property
    def address(self) -> str:
        """The worker's bootstrap server."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def set_fault(self, fault: EndTxnFault) -> None:
        """Inject `fault` next; replaces one that was not triggered."""
        with self._lock:
            self._fault, self._seen_count = fault, 0

    def written(self) -> WrittenRecords:
        """What the open transaction has on the broker. Empty between transactions."""
        with self._lock:
            return frozenset(self._written)

    @property
    def end_txn_pending(self) -> bool:
        """Whether the broker has yet to respond to a request that ends a transaction."""
        return any(
            request.api in END_REQUESTS
            for connection in tuple(self._connections)
            for request in tuple(connection.requests.values())
        )

    def start_outage(self, seconds: float) -> None:
        """Cut everything, and refuse every connection for `seconds`. Does not block."""
        self._loop.call_soon_threadsafe(self._cut_all, seconds)

    def _cut_all(self, seconds: float) -> None:
        self._outage_until = time.monotonic() + seconds
        for connection in tuple(self._connections):
            connection.cut()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(ACCEPT_GRACE_S)  # the task of a client that came last begins, so that it ends here too
        for connection in tuple(self._connections):
            connection.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("asyncio calls back within a task")
        self._tasks.add(task)
        self.connection_count += 1
        try:
            if time.monotonic() < self._outage_until:
                client.transport.abort()
                return
            try:
                broker_reader, broker = await asyncio.open_connection(*self._upstream, limit=1 << 20)
            except OSError:  # the broker is down
                client.transport.abort()
                return
            connection = _Connection(client, broker)
            self._connections.add(connection)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._forward_requests(connection, client_reader))
                    pumps.create_task(self._forward_responses(connection, broker_reader))
            except* (OSError, asyncio.IncompleteReadError):
                pass  # one end has closed: so does the other
            finally:
                connection.cut()
                self._connections.discard(connection)
        except asyncio.CancelledError:
            client.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _forward_requests(self, connection: _Connection, source: asyncio.StreamReader) -> None:
        while True:
            frame = await _frame(source)
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            request = read_request(frame)
            while self.hold_end_txn and request.api in END_REQUESTS:
                await asyncio.sleep(0.01)
            if request.commits and self._drop_commits:
                continue
            fault = self._fault_for(request)
            if fault is not None and fault.loss is EndTxnLoss.REQUEST:
                self._trigger(fault, self.written())
                if fault.keep_connections:
                    self._drop_commits = True
                    continue
                return
            if fault is not None:
                connection.fault, connection.end_txn_correlation = fault, request.correlation
            if request.api == Api.PRODUCE and self.refuse_containing and self.refuse_containing in frame:
                connection.refused.add(request.correlation)
            connection.requests[request.correlation] = request
            connection.broker.write(len(frame).to_bytes(4, "big") + frame)
            await connection.broker.drain()

    async def _forward_responses(self, connection: _Connection, source: asyncio.StreamReader) -> None:
        broker_address = self._upstream[0].encode() + struct.pack(">i", self._upstream[1])
        proxy_address = self._upstream[0].encode() + struct.pack(">i", self.port)
        while True:
            frame = await _frame(source)
            correlation = int.from_bytes(frame[:4], "big", signed=True)
            request = connection.requests.pop(correlation, None)
            written = self.written()
            if request is not None:
                self._record_response(request, frame)
                if request.api in ADDRESS_RESPONSES:
                    frame = frame.replace(broker_address, proxy_address)
                if correlation in connection.refused:
                    connection.refused.discard(correlation)
                    frame = refuse_records(frame, request.version)
            if request is not None and correlation == connection.end_txn_correlation and connection.fault is not None:
                if end_txn_succeeded(frame, request.version):
                    self._trigger(connection.fault, written)
                    if connection.fault.keep_connections:
                        continue
                    return
                self.set_fault(replace(connection.fault, nth=1))  # a retriable error: the client sends it again
            connection.client.write(len(frame).to_bytes(4, "big") + frame)
            await connection.client.drain()

    def _record_response(self, request: Request, frame: bytes) -> None:
        with self._lock:
            match request.api:
                case Api.PRODUCE:
                    accepted = accepted_records(frame, request.version)
                    self._written.update(at for at in accepted if at[0] != self._ignored_topic)
                case Api.INIT_PRODUCER_ID:  # ends an open transaction
                    self._written.clear()
                    self._drop_commits = False
                case Api.END_TXN if end_txn_succeeded(frame, request.version):
                    self.commit_count += bool(request.commits)
                    self._written.clear()

    def _fault_for(self, request: Request) -> EndTxnFault | None:
        if not request.commits:
            return None
        with self._lock:
            if self._fault is None or not self._written:
                return None
            self._seen_count += 1
            if self._seen_count < self._fault.nth:
                return None
            fault, self._fault = self._fault, None
            return fault

    def _trigger(self, fault: EndTxnFault, written: WrittenRecords) -> None:
        self.triggered_faults.append(TriggeredFault(fault.loss, written))
        if fault.on_trigger is not None:
            with contextlib.suppress(ProcessLookupError):
                fault.on_trigger()
        if not fault.keep_connections:
            self._cut_all(fault.outage_s)


async def _frame(source: asyncio.StreamReader) -> bytes:
    return await source.readexactly(int.from_bytes(await source.readexactly(4), "big"))
