"""What becomes of pictures that a checkpoint's own checker objects to, by the settings' word.

Promises that under "block", and under "restricted" outside of age-restricted channels, such a
picture is black before anything is stored; and that otherwise its file stays marked for as long as
it is kept: what is shown behind a spoiler is so wherever it is posted again, and what was painted
in an age-restricted channel leaves it for no other. Where a model has a checker, each picture's
verdict is stored with it, and pictures without one are never stored: a checker that is missing or
fails shows nothing, unless the settings allow everything. Judges nothing itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bot.config_models import ModerationConfig
from bot.jobs import PNG, details_of
from diffusion import ModelInfo, Step
from storage import Job, JobKind, NewJob, NewPicture, Picture, Store

# A parameter of the media type travels with the file through every table.
FLAGGED: Final = f"{PNG}; flagged=yes"
RESTRICTED: Final = f"{PNG}; flagged=restricted"
_MARKS: Final[Mapping[str, str]] = MappingProxyType({"spoiler": FLAGGED, "restricted": RESTRICTED})
# What else a checker's word can come to; these change nothing about how a picture is shown.
SAFE, ALLOWED, WITHHELD = "no", "allowed", "withheld"
# Kinds that can show a picture again without painting anything.
_SAME_PICTURE: Final = frozenset({JobKind.UPSCALE, JobKind.ENLARGE})
SPOILER: Final = "SPOILER_"
# Where a checkpoint folder keeps the network that judges its pictures, and lists its networks.
JUDGE: Final = "safety_checker"
INDEX: Final = "model_index.json"


class UnjudgedError(Exception):
    """Pictures have no verdict, or one that is none, though their model has a checker."""


def has_judge(model: ModelInfo) -> bool:
    """Say whether a model's pictures are to be judged: its index lists a checker, though that may
    be missing, or there is one that the index does not switch off. Blocks.
    """
    folder = Path(model.path)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        index = {}
    if isinstance(index, dict) and JUDGE in index:
        listed = index[JUDGE]
        return isinstance(listed, list) and any(each is not None for each in listed)
    return (folder / JUDGE).is_dir()


def check_verdicts(step: Step, *, expected: bool) -> None:
    """Refuse finished pictures whose checker said nothing, or nothing that can be understood."""
    count = len(step.pictures or ())
    if not step.flagged:
        if expected and count:
            raise UnjudgedError("the model has a safety checker, but it gave no verdict")
    elif len(step.flagged) != count or not all(each in (True, False) for each in step.flagged):
        raise UnjudgedError(f"{count} pictures have the verdicts {step.flagged}")


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
    judged: bool,
    job: Job,
    moderation: ModerationConfig,
    store: Store,
) -> list[NewPicture]:
    """Note with each picture what became of it: one that a checker objects to and that may be kept,
    its grid, and what is made of it, or one that is as it should be.

    `judged` says whether these pictures have verdicts; what was only taken over has those that it
    had before.
    """
    inherited = await mark_of_parent(job, store)
    if inherited is not None:
        return [replace(one, media_type=inherited) for one in pictures]
    if not judged:
        word = await _word_of_parent(job, store) if job.kind in _SAME_PICTURE else None
        return [one if word is None else _with_word(one, word) for one in pictures]
    mark = None if is_withheld(moderation, job) else _MARKS.get(moderation.unsafe)
    kept = flagged | {0, *(one.index for one in pictures if one.index > job.images)}
    word = WITHHELD if is_withheld(moderation, job) else ALLOWED
    found = []
    for one in pictures:
        bad = bool(flagged) and one.index in kept
        if bad and mark is not None and one.index <= job.images:
            found.append(replace(one, media_type=mark))
        else:
            found.append(_with_word(one, word if bad else SAFE))
    return found


def _with_word(picture: NewPicture, word: str) -> NewPicture:
    kind = picture.media_type.partition(";")[0]
    return replace(picture, media_type=f"{kind}; flagged={word}")


async def _word_of_parent(job: NewJob, store: Store) -> str | None:
    pictures = await store.pictures(job.parent_id or "")
    types = [each.media_type for each in pictures if each.index == job.parent_index]
    return types[0].partition("flagged=")[2] or None if types else None


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
