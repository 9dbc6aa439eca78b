"""The road between one worker and the broker: reads Kafka's frames, cuts at a chosen EndTxn, delays, goes dark.

Frames are passed on as they are, but for the broker's address in Metadata, FindCoordinator and DescribeCluster: there
the broker's port gives way to the proxy's (same length), so that a worker stays on this road.
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
    """The requests that the proxy looks into."""

    PRODUCE = 0
    METADATA = 3
    FIND_COORDINATOR = 10
    INIT_PRODUCER_ID = 22
    END_TXN = 26
    DESCRIBE_CLUSTER = 60


ADDRESSES = frozenset({Api.METADATA, Api.FIND_COORDINATOR, Api.DESCRIBE_CLUSTER})
ENDS = frozenset({Api.END_TXN, Api.INIT_PRODUCER_ID})
FIRST_FLEXIBLE = {Api.PRODUCE: 9, Api.END_TXN: 3}  # from here on: compact strings, varint lengths, tagged fields
PRODUCE_BY_TOPIC_ID = 13
INVALID_RECORD = 87

Written = frozenset[tuple[str, int, int]]
"""(topic, partition, first offset) of the produce requests of a transaction that the broker has accepted."""


class Side(StrEnum):
    """Where an EndTxn is when the road ends."""

    NOT_ARRIVED = "not arrived"  #: The request was never passed on.
    ARRIVED = "arrived"  #: The broker has answered, the worker has not heard it.


@dataclass(frozen=True, slots=True)
class Trap:
    """What happens at the `nth` EndTxn that commits records, counted from when the trap was set.

    `then` is called in the proxy's thread, before the connections are cut: to kill the worker while the request is
    held. For `dark_s` seconds after that every connection is refused. `lost`: nothing is cut, this request or this
    answer alone is lost, so that the consumer stays a member.
    """

    side: Side
    nth: int = 1
    dark_s: float = 0.0
    lost: bool = False
    then: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Sprung:
    """A trap that has gone off, with what the transaction had written by then."""

    side: Side
    written: Written


class _Bytes:
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
    """What the head of a request says. `commits` is None unless it is an EndTxn."""

    api: int
    version: int
    correlation: int
    commits: bool | None


def read_request(frame: bytes) -> Request:
    """The head of a request frame (without its length)."""
    api, version, correlation = struct.unpack_from(">hhi", frame)
    if api != Api.END_TXN:
        return Request(api, version, correlation, None)
    flexible = version >= FIRST_FLEXIBLE[Api.END_TXN]
    client_length = max(0, struct.unpack_from(">h", frame, 8)[0])  # the header's client id is never compact
    body = _Bytes(frame[10 + client_length :], flexible=flexible)
    body.tags()
    body.string()
    body.number(8)
    body.number(2)
    return Request(api, version, correlation, bool(body.number(1)))


def accepted(frame: bytes, version: int) -> Iterator[tuple[str, int, int]]:
    """(topic, partition, first offset) of each partition that a Produce response (without its length) accepts."""
    for topic, partition, error, first, _ in _produced(frame, version):
        if error == 0:
            yield topic, partition, first


def refused(frame: bytes, version: int) -> bytes:
    """A Produce response that refuses what `frame` accepts, as a broker does that finds a record invalid."""
    changed = bytearray(frame)
    for *_, at in _produced(frame, version):
        changed[at : at + 2] = INVALID_RECORD.to_bytes(2, "big")
    return bytes(changed)


def _produced(frame: bytes, version: int) -> Iterator[tuple[str, int, int, int, int]]:
    """Topic, partition, error, first offset of each partition of a Produce response; and where its error stands."""
    if version >= PRODUCE_BY_TOPIC_ID:
        raise AssertionError(f"Produce version {version} names topics by id: teach the proxy to read it")
    body = _Bytes(frame[4:], flexible=version >= FIRST_FLEXIBLE[Api.PRODUCE])
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


def ends(frame: bytes, version: int) -> bool:
    """Whether an EndTxn response (without its length) says that the transaction ends; False: to be asked again."""
    body = _Bytes(frame[4:], flexible=version >= FIRST_FLEXIBLE[Api.END_TXN])
    body.tags()
    body.number(4)
    return body.number(2) == 0


@dataclass(eq=False)
class _Connection:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    asked: dict[int, Request] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)  # correlation ids of the Produce that are answered with a refusal
    doomed: int | None = None  # correlation id of the EndTxn whose answer is swallowed
    trap: Trap | None = None

    def cut(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()


class Proxy:
    """A port on loopback that leads to the broker. A context manager; its loop runs in a thread of its own."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.partition(":")
        self._upstream = (host, int(port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._trap: Trap | None = None
        self._passed = 0
        self._loses_commits = False  # the client may send the lost one again, on a new connection
        self._dark_until = 0.0
        self._written: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()
        self.port = 0
        self.delay_s = 0.0  #: Added to each request, to make answers slow.
        self.holds_ends = False  #: While it is true, no request that ends a transaction is passed on.
        self.refuses = b""
        """A Produce with these bytes in it, not compressed, is answered as one with an invalid record; what the broker
        then has of it is aborted by its client, to whom it is not there."""
        self.commits_answered = 0  #: EndTxn that commit, and that the broker has answered.
        self.sprung: list[Sprung] = []

    @property
    def address(self) -> str:
        """What the worker is given as its bootstrap server."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def set_trap(self, trap: Trap) -> None:
        """The next trap; replaces one that has not sprung."""
        with self._lock:
            self._trap, self._passed = trap, 0

    def written(self) -> Written:
        """What the transaction that is open now has on the broker. Empty between transactions."""
        with self._lock:
            return frozenset(self._written)

    def go_dark(self, seconds: float) -> None:
        """Cut everything, and refuse every connection for `seconds`. Does not block."""
        self._loop.call_soon_threadsafe(self._darken, seconds)

    def _darken(self, seconds: float) -> None:
        self._dark_until = time.monotonic() + seconds
        for connection in tuple(self._connections):
            connection.cut()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("asyncio calls back within a task")
        self._tasks.add(task)
        try:
            if time.monotonic() < self._dark_until:
                near.transport.abort()
                return
            try:
                far_in, far = await asyncio.open_connection(*self._upstream, limit=1 << 20)
            except OSError:  # the broker is down: so is the road
                near.transport.abort()
                return
            connection = _Connection(near, far)
            self._connections.add(connection)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._requests(connection, near_in))
                    pumps.create_task(self._responses(connection, far_in))
            except* (OSError, asyncio.IncompleteReadError):
                pass  # either end has closed: so does the other
            finally:
                connection.cut()
                self._connections.discard(connection)
        except asyncio.CancelledError:
            near.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _requests(self, connection: _Connection, source: asyncio.StreamReader) -> None:
        while True:
            frame = await _frame(source)
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            request = read_request(frame)
            while self.holds_ends and request.api in ENDS:
                await asyncio.sleep(0.01)
            if request.commits and self._loses_commits:
                continue
            trap = self._trap_for(request)
            if trap is not None and trap.side is Side.NOT_ARRIVED:
                self._spring(trap, self.written())
                if trap.lost:
                    self._loses_commits = True
                    continue
                return
            if trap is not None:
                connection.trap, connection.doomed = trap, request.correlation
            if request.api == Api.PRODUCE and self.refuses and self.refuses in frame:
                connection.refused.add(request.correlation)
            connection.asked[request.correlation] = request
            connection.far.write(len(frame).to_bytes(4, "big") + frame)
            await connection.far.drain()

    async def _responses(self, connection: _Connection, source: asyncio.StreamReader) -> None:
        mine = self._upstream[0].encode() + struct.pack(">i", self._upstream[1])
        ours = self._upstream[0].encode() + struct.pack(">i", self.port)
        while True:
            frame = await _frame(source)
            correlation = int.from_bytes(frame[:4], "big", signed=True)
            request = connection.asked.pop(correlation, None)
            written = self.written()
            if request is not None:
                self._note(request, frame)
                if request.api in ADDRESSES:
                    frame = frame.replace(mine, ours)
                if correlation in connection.refused:
                    connection.refused.discard(correlation)
                    frame = refused(frame, request.version)
            if request is not None and correlation == connection.doomed and connection.trap is not None:
                if ends(frame, request.version):
                    self._spring(connection.trap, written)
                    if connection.trap.lost:
                        continue
                    return
                self.set_trap(replace(connection.trap, nth=1))  # refused for now: it comes again
            connection.near.write(len(frame).to_bytes(4, "big") + frame)
            await connection.near.drain()

    def _note(self, request: Request, frame: bytes) -> None:
        with self._lock:
            match request.api:
                case Api.PRODUCE:
                    self._written.update(accepted(frame, request.version))
                case Api.INIT_PRODUCER_ID:  # whatever was open is ended
                    self._written.clear()
                    self._loses_commits = False
                case Api.END_TXN if ends(frame, request.version):
                    self.commits_answered += bool(request.commits)
                    self._written.clear()

    def _trap_for(self, request: Request) -> Trap | None:
        if not request.commits:
            return None
        with self._lock:
            if self._trap is None or not self._written:
                return None
            self._passed += 1
            if self._passed < self._trap.nth:
                return None
            trap, self._trap = self._trap, None
            return trap

    def _spring(self, trap: Trap, written: Written) -> None:
        self.sprung.append(Sprung(trap.side, written))
        if trap.then is not None:
            with contextlib.suppress(ProcessLookupError):
                trap.then()
        if not trap.lost:
            self._darken(trap.dark_s)


async def _frame(source: asyncio.StreamReader) -> bytes:
    return await source.readexactly(int.from_bytes(await source.readexactly(4), "big"))
