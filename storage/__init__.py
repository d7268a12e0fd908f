"""What Easel remembers: the durable queue, the history, and the pictures.

Everything another room may use is named here. Nothing here imports torch or discord, and nothing
outside this package imports sqlalchemy.
"""

from storage.errors import (
    InvalidJob,
    QueueFull,
    StaleJob,
    StorageError,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreFull,
    StoreLocked,
    UnknownParent,
    UserQueueFull,
)
from storage.ids import JOB_ID_LENGTH, is_job_id, new_job_id
from storage.records import (
    FINAL_STATES,
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
from storage.store import Store

__all__ = [
    "FINAL_STATES",
    "JOB_ID_LENGTH",
    "NEXT_STATES",
    "OPEN_STATES",
    "Counts",
    "Enqueued",
    "InvalidJob",
    "Job",
    "JobKind",
    "JobState",
    "NewJob",
    "NewPicture",
    "Picture",
    "QueueFull",
    "Recovered",
    "StaleJob",
    "StorageError",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreDamaged",
    "StoreFull",
    "StoreLocked",
    "UnknownParent",
    "UserQueueFull",
    "is_job_id",
    "new_job_id",
]
