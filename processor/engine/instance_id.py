"""The stable name of an instance: `{group}:{instance}:{index}`, its transactional.id.

Unique is what correctness needs; stable is what frees readers at once after a kill, because `init_transactions` of the
same id ends the dead instance's open transaction. Neither group nor instance has a colon, so no two pairs give one id.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from filelock import FileLock, Timeout

from processor.errors import UsageError
from processor.settings import Settings

MAX_PROCESSES_PER_HOST = 1000


@contextmanager
def claim_transactional_id(settings: Settings) -> Iterator[str]:
    """The id for this process, held until the block is left: the lowest free index of the instance on this host.

    The lock is a file in a folder of this user in the host's temporary folder, freed by the operating system however
    the process ends. Does not block. Raises UsageError when a thousand are taken, the folder cannot be used, or the
    host's name, which is the instance where none is set, cannot be part of an id.
    """
    instance = settings.instance_name
    folder = _lock_folder(instance)
    for index in range(MAX_PROCESSES_PER_HOST):
        candidate = f"{settings.group_id}:{instance}:{index}"
        # A digest: a group's name may be a path, and longer than a file's may be.
        file_name = blake2b(candidate.encode(), digest_size=16).hexdigest()
        lock = FileLock(folder / f"{file_name}.lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            continue
        try:
            yield candidate
        finally:
            lock.release()
        return
    raise UsageError(
        f"all {MAX_PROCESSES_PER_HOST} indices of instance {instance!r} are taken on this host",
        hint="set PROCESSOR_INSTANCE_ID to another word for these processes",
    )


def _lock_folder(instance: str) -> Path:
    """A folder that only this user can enter. All users may write to its parent, so it may exist as another user's."""
    try:
        folder = Path(tempfile.gettempdir()) / f"processor-instances-{os.geteuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(f"{folder} is no folder, or another user's")
        folder.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"no folder for the lock of instance {instance!r}: {error}",
            hint="set TMPDIR to a writable folder; in a container with a read-only root, mount /tmp",
        ) from error
    return folder
