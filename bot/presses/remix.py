"""What was typed into a picture button's modal: read, checked again, and made.

Promises that a modal works whichever run of the bot showed it, that changed words go through the
same grammar, limits and word lists as /imagine's, and that unchanged ones are a plain variation.
"""

import asyncio
import logging
import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import discord

from bot import jobs, limits, reading, texts, texts_discord, texts_pictures, wishes
from bot.acknowledging import thinking
from bot.answers import say
from bot.enclosed import EnclosedError, read_enclosed
from bot.jobs import Draft
from bot.modals import Typed, cells_chosen, prefilled, read_modal
from bot.permissions import Action
from bot.places import UnknownPlaceError, cells_of
from bot.presses import pictures
from bot.presses.rules import allowed
from bot.prompt import PromptError, parse
from bot.resolve import Run
from bot.services import Interaction, services_of
from bot.wishes import Wish
from diffusion import Params, PictureError
from diffusion.pictures import decode_picture
from storage import Job, StorageError

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_STRENGTH: Final = 0.05
_NUMBER: Final = re.compile(r"\d{1,3}(?:[.,]\d{1,6})?", re.ASCII)

log = logging.getLogger(__name__)


class RefusedError(Exception):
    """What was typed cannot be done; the text is the sentence that says why."""


async def submitted(interaction: Interaction) -> None:
    """Take a modal that was sent off, if it is one of these; every other is left alone."""
    data: Any = interaction.data
    typed = read_modal(data)
    if typed is None:
        return
    try:
        await _answer(interaction, typed)
    except StorageError as error:
        log.error("modal %r failed: %s", data.get("custom_id"), error)
        await say(interaction, texts_discord.not_accepted(error))
    # discord.py would only log it, and the sender would read "Something went wrong".
    except Exception:
        log.exception("modal %r failed (%d)", data.get("custom_id"), interaction.id)
        await say(interaction, texts.internal_error(str(interaction.id)))


async def _answer(interaction: Interaction, typed: Typed) -> None:
    job = await services_of(interaction).store.job(typed.job_id)
    if job is None or typed.action not in wishes.FULFILLED:
        await say(interaction, texts.unknown_job(typed.job_id))
        return
    if not await allowed(interaction, typed.action, job):
        return
    origin = await pictures.origin_of(interaction, typed.action, job, typed.index)
    if origin is None:
        return
    try:
        source = origin.sha256 or Params.from_json(job.params).init_image or ""
        wish = await thinking(interaction, _wish(interaction, job, typed, source))
    except RefusedError as refusal:
        await say(interaction, str(refusal))
    except EnclosedError as error:
        await say(interaction, str(error))
    except PromptError as error:
        await say(interaction, texts_pictures.wrong_prompt(error))
    else:
        await pictures.make(interaction, typed.action, origin, wish)


async def _wish(interaction: Interaction, job: Job, typed: Typed, sha256: str) -> Wish:
    """Read everything that the modal asked for."""
    draft, reshaped = await _draft(interaction, job, typed, sha256)
    wish = Wish(
        draft=draft,
        seed=_seed(job, draft, typed),
        strength=await _strength(interaction, job, typed),
        factor=_number(typed, "zoom", 1.0, wishes.MOST_ZOOM),
        reshaped=reshaped,
    )
    if typed.action is not Action.REGION:
        return wish
    mask = await _mask(interaction, typed)
    return replace(wish, mask=mask, cells=cells_chosen(typed) | _named_cells(typed))


async def _draft(
    interaction: Interaction, job: Job, typed: Typed, sha256: str
) -> tuple[Draft, bool]:
    """Return what the words ask for, and whether they name a shape of their own."""
    old = jobs.draft_of(job)
    text, negative = typed.text("prompt"), typed.text("negative")
    asks_negative = typed.action is not Action.REGION
    same_negative = not asks_negative or negative == old.params.negative_prompt.strip()
    if text == prefilled(old).strip() and same_negative:
        return old, False
    if not asks_negative:
        negative = old.params.negative_prompt
    if negative:
        text = f"{text} --no {negative}"
    run = await _read(interaction, text, model=job.model, sha256=sha256)
    params, reshaped = run.params, parse(run.text).aspect is not None
    if not reshaped and params.model == job.model:
        params = replace(params, width=old.params.width, height=old.params.height)
    # What was typed decides about the film; about the rest nothing can be typed here.
    kept = {key: value for key, value in old.details.items() if key != "video"}
    return Draft(params=params, prompt=run.text, details={**kept, **run.details}), reshaped


async def _read(interaction: Interaction, text: str, *, model: str, sha256: str) -> Run:
    """Read words as /imagine does; raise RefusedError or PromptError."""
    # Flags about a picture to start from are no error here: there is one.
    asked = reading.Typed(text=text, model=model, image=sha256 or None)
    plan = await reading.read_plan(interaction, asked)
    if isinstance(plan, limits.Refusal):
        raise RefusedError(plan.text)
    if len(plan.runs) != 1:
        raise RefusedError(texts_pictures.one_prompt(len(plan.runs)))
    return plan.runs[0]


def _seed(job: Job, draft: Draft, typed: Typed) -> int:
    """Return the noise: the picture's own where it is kept, what was typed, or new noise."""
    old = Params.from_json(job.params)
    if typed.values.get("seed") is True:
        own = typed.action in pictures.WHOLE
        return old.seed if own else jobs.alone(old, typed.index).seed
    changed = draft != jobs.draft_of(job)
    typed_seed = parse(draft.prompt).seed if changed else None
    return secrets.randbits(32) if typed_seed is None else typed_seed


async def _strength(interaction: Interaction, job: Job, typed: Typed) -> float | None:
    """Return the strength, or None where nothing was changed."""
    given = _number(typed, "strength", LEAST_STRENGTH, 1.0)
    if given is None or typed.action is not Action.REROLL:
        return given
    usual = await pictures.strength_of(interaction, typed.action, job)
    return None if given == usual else given


def _number(typed: Typed, name: str, low: float, high: float) -> float | None:
    text = typed.text(name)
    if not text:
        return None
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else -1.0
    if not low <= value <= high:
        raise RefusedError(texts_pictures.number_wanted(f"{low:g}", f"{high:g}", text))
    return value


def _named_cells(typed: Typed) -> frozenset[tuple[int, int]]:
    try:
        return cells_of(typed.text("place"))
    except UnknownPlaceError as error:
        raise RefusedError(texts_pictures.unknown_place(str(error))) from error


async def _mask(interaction: Interaction, typed: Typed) -> "Image | None":
    """Return the uploaded mask."""
    chosen = typed.chosen("mask")
    payload: Any = typed.files.get(chosen[0]) if chosen else None
    if payload is None:
        return None
    # discord.py makes attachments for modals that it remembers; this one needs no memory.
    attachment = discord.Attachment(data=payload, state=interaction._state)
    data = await read_enclosed(attachment)
    try:
        return await asyncio.to_thread(decode_picture, data)
    except PictureError as error:
        raise RefusedError(texts_pictures.bad_upload(str(error))) from error
