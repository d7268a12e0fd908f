"""/info: my jobs that wait or run, what is left of my day, the queue, the models, the machine."""

import time
from typing import Any

from discord import app_commands

from bot import jobs, roles, texts, texts_community, texts_discord
from bot.answers import say
from bot.cards import under_list
from bot.escape import MESSAGE_LIMIT, cut_utf16
from bot.halts import Halt
from bot.language import tr
from bot.services import Interaction, Services, services_of
from bot.texts import QueueLine
from storage import Job, JobState

OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.RENDERED, JobState.POSTING)


def info() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="info", description=texts.COMMANDS["info"])
    async def run(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services = services_of(interaction)
        mine = await services.store.active(interaction.user.id)
        counts = await services.store.counts()
        text = texts.queue_overview(
            [line_of(services, job) for job in mine],
            waiting=counts.waiting,
            running=counts.running,
            models=sorted(services.models),
            device=machine(services),
        )
        told = [used_of(await quota(interaction)), text]
        match services.halts.of(interaction.guild_id):
            case Halt.PAUSED:
                told.insert(0, texts_community.paused())
            case Halt.DRAINING:
                told.insert(0, texts_community.draining())
        stoppable = [job for job in mine if job.state in (JobState.QUEUED, JobState.RUNNING)]
        view = under_list(stoppable) if stoppable else None
        await say(interaction, cut_utf16("\n".join(told), MESSAGE_LIMIT), view=view)

    return run


async def quota(interaction: Interaction) -> roles.Quota:
    """Return what somebody used of their day, here."""
    services = services_of(interaction)
    settings = roles.settings_of(interaction, services.settings())
    return await roles.quota_of(
        services.store,
        services.intake.cost,
        settings,
        user_id=interaction.user.id,
        guild_id=interaction.guild_id,
    )


def used_of(found: roles.Quota) -> str:
    """Say how much of the day is used."""
    return texts_community.used_today(used=found.used, limit=found.limit, resets=found.resets)


def line_of(services: Services, job: Job) -> QueueLine:
    """Say where one job stands."""
    ticket = services.queue.ticket(job.id)
    if ticket is not None:
        position, eta = services.queue.position_of(ticket), services.worker.eta(ticket)
        return texts_discord.queue_line(job, position=position, percent=None, eta=eta)
    running = services.worker.running.get(job.id)
    if running is None or running.progress is None:
        percent = 100 if job.state in (JobState.RENDERED, JobState.POSTING) else None
        return texts_discord.queue_line(job, position=None, percent=percent, eta=None)
    percent, eta = running.progress.percent, services.worker.estimates.left(job.id)
    return texts_discord.queue_line(job, position=None, percent=percent, eta=eta)


def machine(services: Services) -> str:
    """Say what the bot runs on, and for how long."""
    up = texts.seconds(time.monotonic() - services.started).removeprefix("~")
    up = tr("up {time}", time=up)
    return f"{services.engine.device} · {jobs.software()} · {up}"
