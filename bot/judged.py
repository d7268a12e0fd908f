"""What becomes of pictures that a checkpoint's own checker objects to, by the settings' word.

Promises that under "block", and under "restricted" outside of age-restricted channels, such a
picture is black before anything is stored; and that otherwise its file stays marked for as long as
it is kept: what is shown behind a spoiler is so wherever it is posted again, and what was painted
in an age-restricted channel leaves it for no other. Judges nothing itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from bot.config_models import ModerationConfig
from bot.jobs import PNG, details_of
from diffusion import Step
from storage import Job, NewJob, NewPicture, Picture, Store

# A parameter of the media type travels with the file through every table.
FLAGGED: Final = f"{PNG}; flagged=yes"
RESTRICTED: Final = f"{PNG}; flagged=restricted"
_MARKS: Final[Mapping[str, str]] = MappingProxyType({"spoiler": FLAGGED, "restricted": RESTRICTED})
SPOILER: Final = "SPOILER_"


def is_withheld(moderation: ModerationConfig, job: NewJob) -> bool:
    """Say whether objectionable pictures of a job are blackened."""
    if moderation.unsafe == "restricted":
        return not details_of(job).get("restricted", False)
    return moderation.unsafe == "block"


def flagged_of(step: Step) -> set[int]:
    """Return the numbers (from 1) of the pictures that the checker objects to."""
    numbers = step.images or range(len(step.flagged))
    return {number + 1 for number, bad in zip(numbers, step.flagged, strict=False) if bad}


async def marked(
    pictures: Sequence[NewPicture],
    flagged: set[int],
    *,
    job: Job,
    moderation: ModerationConfig,
    store: Store,
) -> list[NewPicture]:
    """Mark what a checker objects to and may be kept, its grid, and what is made of it."""
    inherited = await mark_of_parent(job, store)
    if inherited is not None:
        return [replace(one, media_type=inherited) for one in pictures]
    mark = _MARKS.get(moderation.unsafe)
    if mark is None or not flagged or is_withheld(moderation, job):
        return list(pictures)
    kept = flagged | {0}
    return [replace(one, media_type=mark) if one.index in kept else one for one in pictures]


async def mark_of_parent(job: NewJob, store: Store) -> str | None:
    """Return the mark of the picture that a job is made of; None where it has none."""
    if job.parent_id is None or job.parent_index is None:
        return None
    parents = await store.pictures(job.parent_id)
    found = (each.media_type for each in parents if each.index == job.parent_index)
    return next((each for each in found if each in _MARKS.values()), None)


def is_barred(mark: str | None, *, restricted: bool) -> bool:
    """Say whether a picture of this media type may not be shown in such a channel."""
    return mark == RESTRICTED and not restricted


def is_hidden(picture: Picture | NewPicture, job: NewJob) -> bool:
    """Say whether a picture is posted behind a spoiler."""
    return picture.media_type == FLAGGED or details_of(job).get("spoiler", False) is True


def posted_name(name: str, *, hidden: bool) -> str:
    """Return the name a file is posted under; Discord hides those that begin so."""
    return f"{SPOILER}{name}" if hidden else name


def plain_name(name: str) -> str:
    """Return a posted file's name without what hides it."""
    return name.removeprefix(SPOILER)
