"""The stable name of an instance: `{group}-{slot}-{index}`, its transactional.id.

Unique is what correctness needs; stable is what frees readers at once after a kill, because `init_transactions` of the
same id ends the dead instance's open transaction.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock, Timeout

from processor.errors import UsageError
from processor.settings import Settings

MAX_PROCESSES_A_HOST = 1000
MAX_FILE_NAME = 200


@contextmanager
def transactional_id(settings: Settings) -> Iterator[str]:
    """The id for this process, held until the block is left: the lowest index of the slot that is free on this host.

    The lock is a file in the host's temporary folder, freed by the operating system however the process ends.
    Does not block. Raises UsageError when a thousand are taken, or the folder cannot be written.
    """
    slot = settings.slot_name
    try:
        folder = Path(tempfile.gettempdir()) / "processor-slots"
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"no folder for the lock of slot {slot!r}: {error}",
            hint="TMPDIR names a folder that can be written; in a container with a read-only root, mount /tmp",
        ) from error
    with suppress(PermissionError):  # it is another user's, who has done so
        folder.chmod(0o1777)
    for index in range(MAX_PROCESSES_A_HOST):
        name = f"{settings.group_id}-{slot}-{index}"
        # A group's name may be as long as a topic's; a file's may not.
        file = name if len(name) <= MAX_FILE_NAME else blake2b(name.encode(), digest_size=16).hexdigest()
        lock = FileLock(folder / f"{file}.lock", timeout=0, mode=0o666)
        try:
            lock.acquire()
        except (Timeout, PermissionError):
            continue  # taken, or another user's
        try:
            yield name
        finally:
            lock.release()
        return
    raise UsageError(
        f"all {MAX_PROCESSES_A_HOST} indices of slot {slot!r} are taken on this host",
        hint="set PROCESSOR_SLOT to another word for these processes",
    )
