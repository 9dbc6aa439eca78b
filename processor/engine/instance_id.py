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

MAX_PROCESSES_A_HOST = 1000


@contextmanager
def transactional_id(settings: Settings) -> Iterator[str]:
    """The id for this process, held until the block is left: the lowest free index of the instance on this host.

    The lock is a file in a folder of this user in the host's temporary folder, freed by the operating system however
    the process ends. Does not block. Raises UsageError when a thousand are taken, the folder cannot be used, or the
    host's name, which is the instance where none is set, cannot be part of an id.
    """
    instance = settings.instance_name
    folder = _lock_folder(instance)
    for index in range(MAX_PROCESSES_A_HOST):
        name = f"{settings.group_id}:{instance}:{index}"
        # A digest: a group's name may be a path, and longer than a file's may be.
        file = blake2b(name.encode(), digest_size=16).hexdigest()
        lock = FileLock(folder / f"{file}.lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            continue
        try:
            yield name
        finally:
            lock.release()
        return
    raise UsageError(
        f"all {MAX_PROCESSES_A_HOST} indices of instance {instance!r} are taken on this host",
        hint="set PROCESSOR_INSTANCE_ID to another word for these processes",
    )


def _lock_folder(instance: str) -> Path:
    """A folder that nobody but this user can enter. Everybody may write where it lies, so it may be anybody's."""
    try:
        folder = Path(tempfile.gettempdir()) / f"processor-slots-{os.geteuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{folder} is no folder, or another user's")
        folder.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"no folder for the lock of instance {instance!r}: {error}",
            hint="TMPDIR names a folder that can be written; in a container with a read-only root, mount /tmp",
        ) from error
    return folder
