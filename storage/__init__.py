"""What Easel remembers: the durable queue, the history, and the pictures.

Everything another room may use is named here. Nothing here imports torch or discord, and nothing
outside this package imports sqlalchemy.
"""

from typing import TYPE_CHECKING

from storage.entries import (
    LONGEST_MACRO,
    LONGEST_NOTE,
    LONGEST_REASON,
    MOST_MACROS,
    Ban,
    Export,
    Favourite,
    Forgotten,
    Note,
    Report,
    Scope,
    SentKind,
    SentMessage,
)
from storage.errors import (
    InvalidEntry,
    InvalidJob,
    QueueFull,
    StaleJob,
    StorageError,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreFull,
    StoreLocked,
    TooManyMacros,
    UnknownJob,
    UnknownParent,
    UserQueueFull,
)
from storage.files import free_bytes
from storage.ids import JOB_ID_LENGTH, is_job_id, new_job_id
from storage.opening import look_beside, require_free
from storage.records import (
    FINAL_STATES,
    LARGEST_ID,
    MOST_IMAGES,
    NEXT_STATES,
    OPEN_STATES,
    Counts,
    Enqueued,
    Job,
    JobKind,
    JobState,
    NewJob,
    NewPicture,
    Picture,
    Recovered,
)

if TYPE_CHECKING:
    from storage.store import Store

__all__ = [
    "FINAL_STATES",
    "JOB_ID_LENGTH",
    "LARGEST_ID",
    "LONGEST_MACRO",
    "LONGEST_NOTE",
    "LONGEST_REASON",
    "MOST_IMAGES",
    "MOST_MACROS",
    "NEXT_STATES",
    "OPEN_STATES",
    "Ban",
    "Counts",
    "Enqueued",
    "Export",
    "Favourite",
    "Forgotten",
    "InvalidEntry",
    "InvalidJob",
    "Job",
    "JobKind",
    "JobState",
    "NewJob",
    "NewPicture",
    "Note",
    "Picture",
    "QueueFull",
    "Recovered",
    "Report",
    "Scope",
    "SentKind",
    "SentMessage",
    "StaleJob",
    "StorageError",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreDamaged",
    "StoreFull",
    "StoreLocked",
    "TooManyMacros",
    "UnknownJob",
    "UnknownParent",
    "UserQueueFull",
    "free_bytes",
    "is_job_id",
    "look_beside",
    "new_job_id",
    "require_free",
]


def __getattr__(name: str) -> object:
    # SQLAlchemy takes a third of a second, and who asks whether a folder is free needs none of it.
    if name == "Store":
        from storage.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
