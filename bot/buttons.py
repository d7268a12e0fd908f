"""Presses: from a custom_id that may be years old, or forged, to what it does.

Promises that the custom_id is only a question; the answer comes from the database. Every press ends
in an answer, also one whose job is unknown, deleted, foreign or not the presser's to touch.
"""

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self

import discord

from bot import jobs, texts, texts_discord
from bot.answers import asked, say, verdict
from bot.cards import info_embed, under_question
from bot.history_pages import turn_page
from bot.permissions import PAINTING, Action, Verdict
from bot.poster import is_result
from bot.prompting import run_fixed
from bot.resolve import to_text
from bot.services import Interaction, Services, services_of
from bot.talk import Passing, Refused
from diffusion import Params
from storage import Job, StorageError

TEMPLATE: Final = r"v\d+:.*"
_DOING: Final[Mapping[Action, str]] = {
    Action.UPSCALE: "post them alone",
    Action.VARY: "vary them",
    Action.REROLL: "paint them again",
    Action.CANCEL: "cancel this",
    Action.DELETE: "delete this",
    Action.DELETE_SURE: "delete this",
}

log = logging.getLogger(__name__)


class Press(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=re.compile(TEMPLATE, re.DOTALL),
):
    """Any button of ours; what it does stands in its custom_id."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: Interaction,
        item: discord.ui.Item[Any],
        match: re.Match[str],
    ) -> Self:
        """Make the item for one press."""
        return cls(item)  # type: ignore[arg-type]

    async def callback(self, interaction: Interaction) -> None:
        """Answer the press."""
        try:
            await answer_press(interaction, self.custom_id)
        except StorageError as error:
            log.error("press %r failed: %s", self.custom_id, error)
            await say(interaction, texts_discord.not_accepted(error))
        # discord.py would only log it, and the presser would read "This interaction failed".
        except Exception:
            log.exception("press %r failed (%d)", self.custom_id, interaction.id)
            await say(interaction, texts.internal_error(str(interaction.id)))


async def answer_press(interaction: Interaction, custom_id: str) -> None:
    """Do what a button says, or say why not."""
    _, _, rest = custom_id.partition(":")
    action, _, rest = rest.partition(":")
    if action == "page":
        await turn_page(interaction, rest)
        return
    if action == "fix":
        await run_fixed(interaction, rest.partition(":")[0])
        return
    job_id, _, index_text = rest.partition(":")
    job = await services_of(interaction).store.job(job_id)
    index = int(index_text) if re.fullmatch(r"\d{1,20}", index_text, re.ASCII) else -1
    if job is None or action not in HANDLERS or index < 0:
        await say(interaction, texts.unknown_job(job_id))
        return
    known = Action(action)
    match verdict(interaction, known, job):
        case Verdict.FOREIGN:
            await say(interaction, texts.unknown_job(job_id))
        case Verdict.NOT_YOURS:
            await say(interaction, texts.not_yours(_DOING[known]))
        case Verdict.YES if job.deleted_at is not None and known in PAINTING:
            await say(interaction, texts.deleted_job())
        case Verdict.YES:
            await HANDLERS[known](interaction, job, index)


async def upscale(interaction: Interaction, job: Job, index: int) -> None:
    """U1-U4: post one picture alone."""
    if await _picture_hash(interaction, job, index) is not None:
        new = jobs.upscale_job(job, asked(interaction), index=index)
        await services_of(interaction).intake.accept(interaction, [new])


async def vary(interaction: Interaction, job: Job, index: int) -> None:
    """V1-V4: a new grid near one picture."""
    sha256 = await _picture_hash(interaction, job, index)
    if sha256 is None or not await _model_is_here(interaction, job):
        return
    new = jobs.vary_job(
        job, asked(interaction), index=index, sha256=sha256, seed=secrets.randbits(32)
    )
    await services_of(interaction).intake.accept(interaction, [new])


async def reroll(interaction: Interaction, job: Job, index: int) -> None:
    """🔄: the same again with a new seed."""
    if await _model_is_here(interaction, job):
        new = jobs.reroll_job(job, asked(interaction), seed=secrets.randbits(32))
        await services_of(interaction).intake.accept(interaction, [new])


async def info(interaction: Interaction, job: Job, index: int) -> None:
    """Info: every parameter, for the presser alone."""
    params = Params.from_json(job.params)
    model = services_of(interaction).models.get(job.model)
    command = f"/imagine prompt:{params.prompt}"
    if model is not None:
        command = f"/imagine prompt:{to_text(params, model)}"
    fields = texts.info_card(texts_discord.card(job, params, model, command))
    await say(interaction, "", embed=info_embed(fields))


async def cancel(interaction: Interaction, job: Job, index: int) -> None:
    """Cancel: the device is free at the next step."""
    services = services_of(interaction)
    shown_in_list = interaction.message is not None and interaction.message.flags.ephemeral
    if shown_in_list:
        await interaction.response.defer(ephemeral=True, thinking=True)
    else:
        await interaction.response.defer()
    services.queue.discard(job.id)
    cancelled = await services.store.cancel(job.id)
    if cancelled is None:
        await say(interaction, texts.already_ended())
        return
    await services.worker.cancel(job.id)
    services.metrics.ended.labels("cancelled").inc()
    log.info("job %s cancelled by %d", job.id, interaction.user.id)
    sentence = texts.cancelled(interaction.user.id)
    if shown_in_list:
        await say(interaction, texts.cancelled())
    await services.poster.tell(cancelled, texts_discord.ended(cancelled, sentence), only_edit=True)


async def delete(interaction: Interaction, job: Job, index: int) -> None:
    """🗑️: ask once."""
    message_id = interaction.message.id if interaction.message is not None else 0
    await say(interaction, texts.delete_asked(), view=under_question(job, message_id))


async def delete_for_good(interaction: Interaction, job: Job, index: int) -> None:
    """Yes: the stored pictures and the message go."""
    services = services_of(interaction)
    await interaction.response.defer()
    await services.store.delete_pictures(job.id)
    log.info("the pictures of job %s deleted by %d", job.id, interaction.user.id)
    await _remove_message(services, job, interaction.channel_id or 0, index)
    if job.post_message_id not in (None, index):
        channel_id = job.progress_channel_id or job.channel_id
        await _remove_message(services, job, channel_id, job.post_message_id or 0)
    await interaction.edit_original_response(content=texts.deleted(), view=None)


async def _remove_message(services: Services, job: Job, channel_id: int, message_id: int) -> None:
    """Delete a message if it is ours and shows this job; the id came back from a client."""
    try:
        message = await services.talk.fetch(channel_id, message_id)
        if is_result(message, job, services.talk.own_id):
            await services.talk.delete(channel_id, message_id)
    except (Passing, Refused) as error:
        log.info("job %s: its message stays: %s", job.id, error)


async def _picture_hash(interaction: Interaction, job: Job, index: int) -> str | None:
    """Return the hash of one of a job's pictures, or say that there is none."""
    if not 1 <= index <= job.images:
        await say(interaction, texts.unknown_job(f"{job.id}:{index}"))
        return None
    for picture in await services_of(interaction).store.pictures(job.id):
        if picture.index == index:
            return picture.sha256
    await say(interaction, texts.picture_gone(index))
    return None


async def _model_is_here(interaction: Interaction, job: Job) -> bool:
    if job.model in services_of(interaction).models:
        return True
    await say(interaction, texts.unknown_model(job.model))
    return False


Handler = Callable[[Interaction, Job, int], Awaitable[None]]
HANDLERS: Final[Mapping[Action, Handler]] = {
    Action.UPSCALE: upscale,
    Action.VARY: vary,
    Action.REROLL: reroll,
    Action.INFO: info,
    Action.CANCEL: cancel,
    Action.DELETE: delete,
    Action.DELETE_SURE: delete_for_good,
}
