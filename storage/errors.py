"""What can go wrong in the store, one class per thing a caller may want to do about it.

Every message is a whole sentence that names the place or the row and says what to do next, so that
it can be shown to an operator as it stands. None of them carries a prompt or another person's text.

The classes are named for what they mean (`QueueFull`, as in asyncio), not for being errors.
"""

from __future__ import annotations


class StorageError(Exception):
    """The store could not do what was asked."""


class StoreClosed(StorageError):  # noqa: N818
    """The store was used after it was closed."""


class StoreLocked(StorageError):  # noqa: N818
    """Another process already uses this folder; `holder` is its id, or "unknown"."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class StoreBusy(StorageError):  # noqa: N818
    """Another program held the database's write lock for too long; trying later may work."""


class StoreDamaged(StorageError):  # noqa: N818
    """The database or a picture is not what was written; nothing was changed."""


class StoreFull(StorageError):  # noqa: N818
    """The disk has no room left; what was stored before is still there."""


class InvalidJob(StorageError, ValueError):  # noqa: N818
    """A new job or picture holds a value that cannot be stored."""


class InvalidEntry(StorageError, ValueError):  # noqa: N818
    """A note, preference, macro, favourite, report, ban or quota that cannot be stored."""


class TooManyMacros(StorageError):  # noqa: N818
    """A person has as many macros as one may have; `limit` says how many."""

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class UnknownParent(StorageError):  # noqa: N818
    """A new job names a parent that the store does not have."""


class UnknownJob(StorageError):  # noqa: N818
    """Something was to be kept for a job that the store does not have, or has no pictures of."""


class StaleJob(StorageError):  # noqa: N818
    """The job moved on since the caller last read it; the caller must drop its result."""


class QueueFull(StorageError):  # noqa: N818
    """Too many jobs are waiting; `position` is where this one would have stood."""

    def __init__(self, message: str, *, position: int, limit: int) -> None:
        super().__init__(message)
        self.position = position
        self.limit = limit


class UserQueueFull(QueueFull):
    """The requester alone has too many jobs waiting."""
