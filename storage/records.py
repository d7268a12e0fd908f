"""The values that cross the seam: jobs, pictures, and the answers of the store.

All are frozen; a `Job` is a snapshot of its row at one moment, and the store refuses to act on one
that the row has left behind. Nothing here knows SQL, Discord or how a picture is made: `params` and
`details` are JSON texts of which the store looks at the hashes of stored files alone (`init_image`,
`mask`, the images of `controls`, `sources`): what a job starts from must outlive where it came
from. The values of people and communities are in `storage.entries`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeGuard

from storage.errors import InvalidJob

LARGEST_ID: Final = 2**63 - 1
# The id that no account has: of who asked for a job, reported a picture or shut somebody out.
NOBODY: Final = 0
MOST_IMAGES: Final = 36
LARGEST_PHASH: Final = 2**64 - 1
NO_DETAILS: Final = "{}"
_LONGEST_DETAILS: Final = 100_000
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class JobKind(StrEnum):
    """What the requester asked for."""

    IMAGINE = "imagine"
    VARY = "vary"
    REROLL = "reroll"
    # One picture of the grid posted alone, as it is; ENLARGE paints it larger.
    UPSCALE = "upscale"
    ENLARGE = "enlarge"
    ZOOM = "zoom"
    PAN = "pan"
    SQUARE = "square"
    REGION = "region"
    BLEND = "blend"
    MORPH = "morph"
    GRID = "grid"
    CONTINUE = "continue"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"
    POSTING = "posting"
    POSTED = "posted"
    FAILED = "failed"
    CANCELLED = "cancelled"


# Which state may follow which. running -> queued is a hand-back (clean stop, or found at boot).
NEXT_STATES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
        JobState.RUNNING: frozenset(
            {JobState.QUEUED, JobState.RENDERED, JobState.FAILED, JobState.CANCELLED}
        ),
        JobState.RENDERED: frozenset({JobState.POSTING, JobState.FAILED}),
        JobState.POSTING: frozenset({JobState.POSTING, JobState.POSTED, JobState.FAILED}),
        JobState.POSTED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
FINAL_STATES: Final = frozenset(state for state, after in NEXT_STATES.items() if not after)
OPEN_STATES: Final = frozenset(JobState) - FINAL_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What somebody asked for, before the store accepted it.

    `details` is a JSON object of what the caller needs to know of the job beyond its params.
    """

    kind: JobKind
    params: str
    prompt: str
    images: int
    model: str
    requester_id: int
    guild_id: int | None
    channel_id: int
    interaction_id: int
    parent_id: str | None = None
    parent_index: int | None = None
    repeat_index: int = 0
    locale: str = "en-US"
    details: str = NO_DETAILS

    def __post_init__(self) -> None:
        """Refuse what the table could not hold."""
        if not 1 <= self.images <= MOST_IMAGES:
            raise InvalidJob(f"images is {self.images}; it must be 1 to {MOST_IMAGES}")
        if self.repeat_index < 0:
            raise InvalidJob(f"repeat_index is {self.repeat_index}; it must be 0 or more")
        if self.parent_index is not None and not 1 <= self.parent_index <= MOST_IMAGES:
            raise InvalidJob(f"parent_index is {self.parent_index}; it must be 1 to {MOST_IMAGES}")
        for name in ("requester_id", "guild_id", "channel_id", "interaction_id"):
            number = getattr(self, name)
            if number is not None and not 0 <= number <= LARGEST_ID:
                raise InvalidJob(f"{name} is {number}; an id is 0 to 2**63 - 1")
        for name in ("params", "prompt", "model", "locale", "details"):
            check_text(name, getattr(self, name))
        if len(self.details) > _LONGEST_DETAILS:
            raise InvalidJob(
                f"details has {len(self.details)} characters; the limit is {_LONGEST_DETAILS}"
            )
        _object("params", self.params)
        if self.details != NO_DETAILS:
            _object("details", self.details)

    @property
    def sources(self) -> tuple[str, ...]:
        """The hashes of the stored files that the job is made from, each once, in order."""
        params, details = _object("params", self.params), _object("details", self.details)
        named = [params.get("init_image"), params.get("mask")]
        named += [item.get("image") for item in _list(params, "controls") if isinstance(item, dict)]
        named += _list(details, "sources")
        return tuple(dict.fromkeys(one for one in named if is_sha256(one)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(NewJob):
    """One row of the queue: what was asked, and what has become of it."""

    id: str
    state: JobState
    attempt: int
    crashes: int
    progress_channel_id: int | None
    progress_message_id: int | None
    post_message_id: int | None
    post_nonce: str | None
    # When posting first began (search the channel from here), and when the current nonce was
    # first sent (Discord remembers a nonce for about two minutes from here).
    post_started_at: datetime | None
    post_nonce_at: datetime | None
    error_code: str | None
    error_text: str | None
    created_at: datetime
    claimed_at: datetime | None
    rendered_at: datetime | None
    posted_at: datetime | None
    deleted_at: datetime | None
    device_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPicture:
    """A finished picture to keep: the grid is index 0, the images are 1 and up.

    `phash` is 64 bits that are nearly the same for pictures that look the same.
    """

    index: int
    data: bytes
    width: int
    height: int
    media_type: str
    phash: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be shown again."""
        if not 0 <= self.index <= MOST_IMAGES:
            raise InvalidJob(f"picture index is {self.index}; it must be 0 to {MOST_IMAGES}")
        if not self.data or self.width < 1 or self.height < 1:
            raise InvalidJob(
                f"picture {self.index} is empty ({len(self.data)} bytes, {self.width} x "
                f"{self.height} pixels); it must hold something"
            )
        if self.phash is not None and not 0 <= self.phash <= LARGEST_PHASH:
            raise InvalidJob(f"phash is {self.phash}; it must be 0 to 2**64 - 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A stored picture; its file is found by its hash."""

    job_id: str
    index: int
    sha256: str
    width: int
    height: int
    size: int
    media_type: str
    phash: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """An accepted job; `position` is 1 for the next to run and 0 if it no longer waits."""

    job: Job
    created: bool
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What a start found: jobs to run, to post, to look for on Discord, and given up."""

    queued: tuple[Job, ...]
    to_post: tuple[Job, ...]
    to_reconcile: tuple[Job, ...]
    poisoned: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many jobs stand in each state; `waiting` is the queued ones."""

    waiting: int
    running: int
    rendered: int
    posting: int
    posted: int
    failed: int
    cancelled: int


def check_text(name: str, text: str) -> None:
    """Refuse text that UTF-8 cannot hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidJob(f"{name} holds half a character at position {error.start}") from error


def is_sha256(value: object) -> TypeGuard[str]:
    """Say whether this is the hash of a file, as the store writes it."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJob(f"{name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidJob(f"{name} is {text[:40]!r}; it must be a JSON object")
    return found


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    return value if isinstance(value, list) else []
