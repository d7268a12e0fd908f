"""The values that people and communities leave: notes, macros, favourites, reports, bans.

All are frozen snapshots. Each limit on what may be stored is named here and checked before the
database is touched; what is refused says which value, where it was, and what would be accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from storage.errors import InvalidEntry
from storage.ids import is_job_id
from storage.records import LARGEST_ID, MOST_IMAGES, Job, Picture

LONGEST_NOTE: Final = 20_000
# Of one person; the oldest make room, so that a button may outlive its note but no disk fills up.
MOST_NOTES: Final = 1000
LONGEST_KEY: Final = 64
LONGEST_VALUE: Final = 20_000
MOST_PREFERENCES: Final = 200
MOST_MACROS: Final = 20
LONGEST_MACRO: Final = 6000
LONGEST_REASON: Final = 2000


class Scope(StrEnum):
    """Whose preference it is."""

    USER = "user"
    CHANNEL = "channel"
    GUILD = "guild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text too long for a button; `user_id` is whose button it is."""

    id: str
    kind: str
    user_id: int
    payload: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Favourite:
    """A picture that somebody marked; index 0 is the whole grid."""

    user_id: int
    job_id: str
    index: int
    created_at: datetime

    @property
    def key(self) -> str:
        """The place in one's list, for `before`: short enough for a button."""
        return f"{self.job_id}:{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Somebody's complaint about a picture; open until it is settled."""

    id: str
    job_id: str
    index: int
    guild_id: int | None
    reporter_id: int
    reason: str
    created_at: datetime
    settled_at: datetime | None
    settled_by: int | None
    verdict: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """Who may not ask for pictures; `guild_id` None is everywhere, `until` None is for ever."""

    guild_id: int | None
    user_id: int
    until: datetime | None
    reason: str
    by: int
    created_at: datetime


class SentKind(StrEnum):
    """What a message is that no job's row names."""

    # Where a channel took nothing: the result itself, or a sentence in place of it.
    RESULT = "result"
    WORD = "word"
    # In somebody's direct messages.
    COPY = "copy"
    PING = "ping"
    # To moderators, of a report.
    NOTICE = "notice"
    # Posted again by /show.
    SHOWN = "shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """A message of ours about a job; `user_id` is whom it is for or, of a notice, by."""

    message_id: int
    channel_id: int
    kind: SentKind
    job_id: str
    user_id: int
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was forgotten of a person, counted.

    `cancelled` names the jobs that were stopped, whose work the caller should drop, `unfinished`
    those that are just being posted: forget once more when they have ended. `messages` are channel
    and id of those that showed the jobs or were for the person, to be deleted by the caller.
    """

    jobs: int
    pictures: int
    files: int
    preferences: int
    macros: int
    favourites: int
    notes: int
    reports: int
    cancelled: tuple[str, ...]
    unfinished: tuple[str, ...]
    messages: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything the store knows of a person.

    `messages` are those beside their jobs' own. `used` is what counts against the quota of a day
    for jobs that were forgotten since: the day, and seconds of the device by guild; None if nothing
    does.
    """

    user_id: int
    jobs: tuple[Job, ...]
    pictures: tuple[Picture, ...]
    preferences: Mapping[str, Any]
    macros: Mapping[str, str]
    favourites: tuple[Favourite, ...]
    notes: tuple[Note, ...]
    reports: tuple[Report, ...]
    bans: tuple[Ban, ...]
    quotas: Mapping[str, float]
    messages: tuple[SentMessage, ...]
    used: Mapping[str, Any] | None

    def to_json(self) -> str:
        """Return it as JSON that a person can read.

        Who banned them is not theirs to know, nor where moderators read what they reported, nor who
        else had their pictures sent to them, where.
        """
        plain = asdict(self)
        for ban in plain["bans"]:
            del ban["by"]
        for message in plain["messages"]:
            is_theirs = message.pop("user_id") == self.user_id
            if not is_theirs or message["kind"] == SentKind.NOTICE:
                del message["channel_id"], message["message_id"]
        for job in plain["jobs"]:
            job["params"], job["details"] = json.loads(job["params"]), json.loads(job["details"])
        return json.dumps(plain, ensure_ascii=False, indent=2, default=_plain)


def check_id(name: str, number: int | None) -> None:
    """Refuse what no Discord id can be."""
    if number is not None and not 0 <= number <= LARGEST_ID:
        raise InvalidEntry(f"{name} is {number}; an id is 0 to 2**63 - 1")


def check_text(name: str, text: str, *, longest: int, shortest: int = 0) -> None:
    """Refuse a text that is too long or too short, or that UTF-8 cannot hold."""
    if not shortest <= len(text) <= longest:
        raise InvalidEntry(
            f"{name} has {len(text)} characters; it must have {shortest} to {longest}"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidEntry(f"{name} holds half a character at position {error.start}") from error


def check_picture(job_id: str, index: int) -> None:
    """Refuse what cannot name a picture of a job."""
    if not is_job_id(job_id):
        raise InvalidEntry(f"job_id is {job_id[:40]!r}; it must be the 13 characters of a job's id")
    if not 0 <= index <= MOST_IMAGES:
        raise InvalidEntry(f"index is {index}; it must be 0 to {MOST_IMAGES}")


def value_text(key: str, value: object) -> str:
    """Return a preference's value as the JSON text that is stored."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEntry(f"the value of {key!r} is not plain JSON: {error}") from error
    check_text(f"the value of {key!r}", text, longest=LONGEST_VALUE)
    return text


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON")
