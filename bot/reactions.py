"""Reactions on our messages: ✉️ sends it to me, ❌ ends or deletes my own, ⭐ keeps it.

Promises that a reaction does no more than the button of the same meaning may, that other emoji and
other people's messages are nothing to us, and that what goes wrong is logged and forgotten: there
is no answer to a reaction.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import discord

from bot import jobs, sent, texts, texts_discord, texts_ideas
from bot.cards import under_result
from bot.judged import is_barred, is_hidden, posted_name
from bot.language import speak
from bot.permissions import Action, Actor, Verdict, judge
from bot.poster import is_result
from bot.seeing import is_private
from bot.services import Services
from bot.talk import Attachment, Letter, Passing, Refused
from diffusion import Params
from storage import FINAL_STATES, Job, SentKind, StorageError

ENVELOPE: Final = "✉"
CROSS: Final = "❌"
STAR: Final = "⭐"
# The variation selector asks for a colourful drawing of a sign; clients send it or not.
_SELECTOR: Final = "\ufe0f"

log = logging.getLogger(__name__)


async def reacted(services: Services, event: discord.RawReactionActionEvent, *, on: bool) -> None:
    """Do what a reaction asks for, or a favourite's reaction taken back."""
    emoji = (event.emoji.name or "").removesuffix(_SELECTOR)
    if event.user_id == services.talk.own_id or emoji not in _ANSWERS or (not on and emoji != STAR):
        return
    try:
        job = await services.store.job_by_message(event.message_id)
        if job is None or job.deleted_at is not None or not may_react(services, event, job):
            return
        # A reaction says nothing of its giver's language.
        speak(job.locale)
        if on:
            await _ANSWERS[emoji](services, event, job)
        else:
            await services.store.people.favourite(event.user_id, job.id, _shown(job), False)
    except (StorageError, Passing, Refused) as error:
        log.info("a reaction of %d on message %d: %s", event.user_id, event.message_id, error)


def may_react(services: Services, event: discord.RawReactionActionEvent, job: Job) -> bool:
    """Say whether this person may see the job at all."""
    verdict = judge(
        Action.SHOW,
        # Who may do more than look is not asked: ❌ is for one's own alone.
        Actor(user_id=event.user_id, guild_id=event.guild_id, manage_messages=False),
        requester_id=job.requester_id,
        guild_id=job.guild_id,
        press=services.settings().moderation.press,
    )
    own = event.user_id == job.requester_id
    return verdict is Verdict.YES and (own or not is_private(job))


async def _send(services: Services, event: discord.RawReactionActionEvent, job: Job) -> None:
    """✉️: the picture with seed and job id, in a direct message."""
    pictures = await services.store.pictures(job.id)
    posted = next((each for each in pictures if each.index == 0), None)
    # Direct messages are no age-restricted channel.
    if posted is None or is_barred(posted.media_type, restricted=False):
        return
    data = await services.store.read_picture(posted)
    model = services.models.get(job.model)
    name, data = await asyncio.to_thread(jobs.fitting, job, data, model)
    seed = Params.from_json(job.params).seed
    sentence = texts_ideas.sent_to_you(job.id, seed, texts_discord.link(job))
    letter = Letter(
        content=f"{texts_discord.final(job)}\n{sentence}",
        view=under_result(job, [each.index for each in pictures if 0 < each.index <= 4]),
        picture=Attachment(
            name=posted_name(name, hidden=is_hidden(posted, job)),
            data=data,
            alt=texts_discord.alt_text(job),
        ),
    )
    channel_id = await services.talk.direct(event.user_id)
    # The same wish within two minutes is the same message.
    nonce = f"{job.id}{event.user_id % 10**11:011d}e"
    about = sent.About(kind=SentKind.COPY, job_id=job.id, user_id=event.user_id)
    await sent.send(
        services.store, services.talk, channel_id, letter, about=about, nonce=nonce[:25]
    )


async def _end(services: Services, event: discord.RawReactionActionEvent, job: Job) -> None:
    """❌: cancel it while it runs, delete it when it is done; the requester's own alone."""
    if event.user_id != job.requester_id:
        return
    services.queue.discard(job.id)
    cancelled = await services.store.cancel(job.id)
    if cancelled is not None:
        await services.worker.cancel(job.id)
        services.metrics.ended.labels("cancelled").inc()
        text = texts_discord.ended(cancelled, texts.cancelled(event.user_id))
        await services.poster.tell(cancelled, text, only_edit=True)
        await services.poster.sequels.ended(cancelled)
        return
    fresh = await services.store.job(job.id)
    if fresh is None or fresh.state not in FINAL_STATES:
        return
    await services.store.delete_pictures(job.id)
    message = await services.talk.fetch(event.channel_id, event.message_id)
    if is_result(message, fresh, services.talk.own_id):
        await sent.delete(services.store, services.talk, event.channel_id, event.message_id)
    log.info("the pictures of job %s deleted by %d", job.id, event.user_id)


async def _keep(services: Services, event: discord.RawReactionActionEvent, job: Job) -> None:
    """⭐: among my favourites; the grid, or the one picture that is shown."""
    await services.store.people.favourite(event.user_id, job.id, _shown(job), True)


def _shown(job: Job) -> int:
    return 1 if job.images == 1 else 0


_Answer = Callable[[Services, discord.RawReactionActionEvent, Job], Awaitable[None]]
_ANSWERS: Final[Mapping[str, _Answer]] = MappingProxyType(
    {ENVELOPE: _send, CROSS: _end, STAR: _keep}
)
