"""`processor run` as a process of the demo, started as anybody starts it; it ends with the demo."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Final

import requests

from processor.errors import DependencyError, FatalError, FencedError, InputError, InternalError, UsageError
from processor.settings import Settings
from processor.supervisor.link import start_worker, worker_command

_STARTUP_TIMEOUT_S: Final = 60.0
_SHUTDOWN_TIMEOUT_S: Final = 12.0
_LOG_LINES: Final = 12  # of the engine's log, in the text of an error
_LOG_BYTES: Final = 16_384

_ERROR_OF_CODE: Final[Mapping[int, type[FatalError]]] = {  # exit code -> what it stands for
    error.exit_code: error for error in (UsageError, DependencyError, FencedError, InputError)
}


class EngineProcess:
    """A process of the engine, with its log in a file."""

    def __init__(self, settings: Settings, log_file: IO[bytes], *, state_dir: str) -> None:
        self._log_file = log_file
        self._process, self._link = start_worker(
            worker_command(until_end=False, start_from=None),
            1,
            environment=_environment(settings, state_dir=state_dir),
            log_file=log_file,
        )

    def wait_until_ready(self) -> None:
        """Block until /ready says so. Raises DependencyError after 60 s, and as `check`."""
        deadline = time.monotonic() + _STARTUP_TIMEOUT_S
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                what = f"the engine was not ready in {_STARTUP_TIMEOUT_S:.0f} s{self._last_log_lines()}"
                raise DependencyError(what)
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        self._link.read_status()
        if self._link.port is None:
            return False
        with suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False  # a proxy has no business between processes of one host
            return bool(session.get(f"http://127.0.0.1:{self._link.port}/ready", timeout=2).ok)
        return False

    def check(self) -> None:
        """Raise what its exit code stands for, when it has ended."""
        if (code := self._process.poll()) is not None:
            error = _ERROR_OF_CODE.get(code, InternalError)
            raise error(f"the engine ended with {code}{self._last_log_lines()}")

    def stop(self) -> None:
        """SIGTERM, and what the engine promises then: an end with 0 within 10 s."""
        self.check()
        self._process.terminate()
        try:
            code = self._process.wait(_SHUTDOWN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            what = f"the engine did not stop in {_SHUTDOWN_TIMEOUT_S:.0f} s{self._last_log_lines()}"
            raise InternalError(what) from None
        if code:
            error = _ERROR_OF_CODE.get(code, InternalError)
            raise error(f"the engine stopped with {code}{self._last_log_lines()}")

    def close(self) -> None:
        """No engine outlives the demo. One that still runs gets SIGTERM first, so that it leaves its group."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_SHUTDOWN_TIMEOUT_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._link.close()

    def _last_log_lines(self) -> str:
        # The engine writes by the same file description: seek would move where it writes, pread does not.
        descriptor = self._log_file.fileno()
        size = os.fstat(descriptor).st_size
        start = max(0, size - _LOG_BYTES)
        text = os.pread(descriptor, size - start, start).decode(errors="replace")
        return "".join(f"\n  {line}" for line in text.splitlines()[-_LOG_LINES:])


@contextmanager
def engine_process(settings: Settings) -> Iterator[EngineProcess]:
    """An engine with these settings, which has ended when the block is left."""
    with (
        tempfile.TemporaryFile() as log_file,  # nameless: never left behind
        tempfile.TemporaryDirectory(prefix="processor-demo-") as state_dir,
    ):
        engine = EngineProcess(settings, log_file, state_dir=state_dir)
        try:
            yield engine
        finally:
            engine.close()


def _environment(settings: Settings, *, state_dir: str) -> dict[str, str]:
    """What the engine is started with: this process's environment, and of our variables just those of the demo."""
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith("PROCESSOR_")}
    kafka = settings.kafka
    properties = {"COMMON": kafka.common, "CONSUMER": kafka.consumer, "PRODUCER": kafka.producer}
    return {
        **others,
        "PROCESSOR_TENANT": settings.required_tenant,
        "PROCESSOR_TOPICS__PREFIX": settings.topics.prefix,
        "PROCESSOR_STATE_DIR": state_dir,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        **{f"PROCESSOR_KAFKA__{name}": json.dumps(dict(value)) for name, value in properties.items() if value},
        "PROCESSOR_HTTP__HOST": "127.0.0.1",
        "PROCESSOR_HTTP__PORT": "0",
        "PROCESSOR_LOG__FORMAT": "json",
    }
