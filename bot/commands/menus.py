"""The entries of a message's menu: Info, Remix, Upscale, Describe, Delete.

Promises that each does what its button would, by the same rules, also on messages whose buttons
are gone; and that on anybody else's message all but Describe say that there is nothing to do.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import discord
from discord import app_commands

from bot import cards, texts_ideas
from bot.answers import say
from bot.describing import describe_attachment, describe_stored, which_to_describe
from bot.permissions import Action
from bot.poster import custom_ids
from bot.presses import jobs as about_jobs
from bot.presses import pictures
from bot.presses.rules import allowed
from bot.seeing import may_see
from bot.services import Interaction, services_of
from storage import Job

Menu = app_commands.ContextMenu
_Answer = Callable[[Interaction, discord.Message], Awaitable[None]]


async def job_of(interaction: Interaction, message: discord.Message) -> Job | None:
    """Return the job that a message of ours shows; None for any other."""
    services = services_of(interaction)
    if message.author.id != services.talk.own_id:
        return None
    found = await services.store.job_by_message(message.id)
    if found is not None:
        return found
    # No job's row names what /show posted or what went home; but their buttons name the job.
    for each in custom_ids(message):
        job_id = each.split(":")[2] if each.count(":") >= 3 else ""
        if (job := await services.store.job(job_id)) is not None:
            return job
    return None


async def _about(interaction: Interaction, message: discord.Message, action: Action) -> Job | None:
    """Return a message's job when this may be done to it; else say why not."""
    job = await job_of(interaction, message)
    if job is None:
        await say(interaction, texts_ideas.no_job_here())
        return None
    return job if await allowed(interaction, action, job) else None


async def _tiles(interaction: Interaction, job: Job) -> list[int]:
    stored = await services_of(interaction).store.pictures(job.id)
    return [each.index for each in stored if 1 <= each.index <= cards.MOST_TILES]


async def show_info(interaction: Interaction, message: discord.Message) -> None:
    """Info: everything about the job."""
    job = await _about(interaction, message, Action.INFO)
    if job is not None:
        await about_jobs.info(interaction, job, 0)


async def remix(interaction: Interaction, message: discord.Message) -> None:
    """Remix: the modal of a single picture; of a grid, that of a new grid."""
    job = await _about(interaction, message, Action.REMIX)
    if job is not None:
        tiles = await _tiles(interaction, job)
        if job.kind in cards.SHEETS:
            await say(interaction, texts_ideas.no_single_pictures())
        else:
            await pictures.press(interaction, Action.REMIX, job, tiles[0] if tiles else 1)


async def upscale(interaction: Interaction, message: discord.Message) -> None:
    """Upscale: at once where there is one picture, else ask which."""
    job = await _about(interaction, message, Action.UPSCALE)
    if job is None:
        return
    tiles = await _tiles(interaction, job)
    if job.kind in cards.SHEETS:
        await say(interaction, texts_ideas.no_single_pictures())
    elif len(tiles) == 1:
        await pictures.press(interaction, Action.SUBTLE_2X, job, tiles[0])
    elif not tiles:
        await pictures.press(interaction, Action.UPSCALE, job, 1)
    else:
        view = cards.which(job, Action.SUBTLE_2X, tiles)
        await say(interaction, texts_ideas.which_picture(), view=view)


async def describe(interaction: Interaction, message: discord.Message) -> None:
    """Describe: of a grid one picture is chosen; else the first attachment of any message."""
    job = await job_of(interaction, message)
    if job is not None and may_see(interaction, job) and job.kind not in cards.SHEETS:
        tiles = await _tiles(interaction, job)
        if len(tiles) == 1:
            await describe_stored(interaction, f"{job.id}:{tiles[0]}")
            return
        if tiles:
            view = which_to_describe(job, tiles)
            await say(interaction, texts_ideas.which_picture(), view=view)
            return
    kinds = ("image/png", "image/jpeg", "image/webp", "image/gif")
    shown = (each for each in message.attachments if (each.content_type or "") in kinds)
    attachment = next(shown, None)
    if attachment is None:
        await say(interaction, texts_ideas.no_picture_here())
    else:
        await describe_attachment(interaction, attachment, None)


async def delete(interaction: Interaction, message: discord.Message) -> None:
    """Delete: asks once, as the button does."""
    job = await _about(interaction, message, Action.DELETE)
    if job is not None:
        await about_jobs.ask_to_delete(interaction, job, message.id)


_MENUS: Final[tuple[tuple[str, _Answer], ...]] = (
    ("info", show_info),
    ("remix", remix),
    ("upscale", upscale),
    ("describe", describe),
    ("delete", delete),
)


def menus() -> list[Menu]:
    """Make the entries."""
    return [_menu(texts_ideas.MENUS[name], answer) for name, answer in _MENUS]


def _menu(name: str, answer: _Answer) -> Menu:
    async def run(interaction: Interaction, message: discord.Message) -> None:
        await answer(interaction, message)

    return app_commands.ContextMenu(name=name, callback=run)
