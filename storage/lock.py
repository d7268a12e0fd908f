"""One process per folder, by `flock` on a file beside the database.

The lock dies with the process, however it dies, so there is nothing to clean up and no timer that
could hand a living process's jobs to another. It does not reach across machines: the folder must be
on a local disk.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import StoreLocked


class InstanceLock:
    """The right to use a folder; held until `release`."""

    def __init__(self, path: Path) -> None:
        """Take the lock at once, or say which process has it."""
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            written = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            holder = written or "unknown"
            self.release()
            raise StoreLocked(
                f"{path.parent} is in use by another Easel (process {holder}). "
                "Stop that one first, or give this one a folder of its own.",
                holder=holder,
            ) from None
        except BaseException:
            self.release()
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Give the folder back; harmless when done twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
