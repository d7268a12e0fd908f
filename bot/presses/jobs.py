"""Buttons about a job itself: cancel it, keep one picture of it, delete it, look at it, like it.

Promises that what is destroyed is asked for once more, that a message is only deleted when it is
ours and shows this job, and that looking and liking are seen by the presser alone.
"""

import logging

from bot import sent, texts, texts_discord, texts_pictures
from bot.acknowledging import Answer, thinking
from bot.answers import say
from bot.cards import info_embed, under_question
from bot.language import speaking, tr
from bot.poster import is_result
from bot.resolve import to_text
from bot.seeing import may_see
from bot.services import Interaction, Services, services_of
from bot.talk import Passing, Refused
from diffusion import DiffusionError, Params, TokenCount
from storage import Job

log = logging.getLogger(__name__)


async def info(interaction: Interaction, job: Job, index: int) -> None:
    """Info: every parameter, for the presser alone."""
    del index
    params = Params.from_json(job.params)
    services = services_of(interaction)
    model = services.models.get(job.model)
    command = f"/imagine prompt:{params.prompt}"
    if model is not None:
        command = f"/imagine prompt:{to_text(params, model, services.settings())}"
    # The first count loads the model's vocabulary.
    tokens = await thinking(interaction, _tokens(services, params), Answer.EPHEMERAL)
    fields = texts.info_card(texts_discord.card(job, params, model, command, tokens))
    children = [
        each for each in await services.store.children(job.id) if may_see(interaction, each)
    ]
    parent = None if job.parent_id is None else await services.store.job(job.parent_id)
    if parent is not None and not may_see(interaction, parent):
        parent = None
    if (lineage := texts_discord.lineage(job, parent, children)) is not None:
        # It says where the job comes from, with a link.
        made_from = None if parent is None else tr("Made from")
        fields = tuple(field for field in fields if field.name != made_from)
        fields = (*fields[:-1], lineage, fields[-1])
    await say(interaction, "", embed=info_embed(fields))


async def _tokens(services: Services, params: Params) -> TokenCount | None:
    try:
        return await services.engine.count_tokens(params)
    except DiffusionError:
        # A card about an old job is worth showing without its model.
        return None


async def cancel(interaction: Interaction, job: Job, index: int) -> None:
    """Cancel: the device is free at the next step."""
    del index
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
    if shown_in_list:
        await say(interaction, texts.cancelled())
    with speaking(cancelled.locale):
        told = texts_discord.ended(cancelled, texts.cancelled(interaction.user.id))
        await services.poster.tell(cancelled, told, only_edit=True)
        await services.poster.sequels.ended(cancelled)


async def keep(interaction: Interaction, job: Job, index: int) -> None:
    """Keep only one: the others are dropped at the next step, and their room is free."""
    if not services_of(interaction).worker.keep(job.id, index - 1):
        await say(interaction, texts_pictures.not_painted(index))
        return
    log.info("job %s goes on with picture %d alone, says %d", job.id, index, interaction.user.id)
    # The buttons change with the next step: an edit from here could arrive after the result.
    await say(interaction, texts_pictures.kept(index))


async def favourite(interaction: Interaction, job: Job, index: int) -> None:
    """❤️: keep it among one's favourites, or take it out again."""
    store = services_of(interaction).store
    if not any(each.index == index for each in await store.pictures(job.id)):
        await say(interaction, texts_pictures.not_kept(index))
        return

    async def turn() -> bool:
        favourite, user_id = store.people.favourite, interaction.user.id
        is_new = await favourite(user_id, job.id, index, True)
        if not is_new:
            await favourite(user_id, job.id, index, False)
        return is_new

    is_new = await thinking(interaction, turn(), Answer.EPHEMERAL)
    told = texts_pictures.favourite_on() if is_new else texts_pictures.favourite_off()
    await say(interaction, told)


async def delete(interaction: Interaction, job: Job, index: int) -> None:
    """🗑️: ask once."""
    del index
    message_id = interaction.message.id if interaction.message is not None else 0
    await ask_to_delete(interaction, job, message_id)


async def ask_to_delete(interaction: Interaction, job: Job, message_id: int) -> None:
    """Ask whether a message and its job's pictures are to go."""
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
            await sent.delete(services.store, services.talk, channel_id, message_id)
    except (Passing, Refused) as error:
        log.info("job %s: its message stays: %s", job.id, error)
