"""/info: my jobs that wait or run, the queue, the models, the machine."""

import time
from typing import Any

from discord import app_commands

from bot import jobs, texts, texts_discord
from bot.answers import say
from bot.cards import under_list
from bot.services import Interaction, Services, services_of
from bot.texts import QueueLine
from diffusion import Params
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
        stoppable = [job for job in mine if job.state in (JobState.QUEUED, JobState.RUNNING)]
        view = under_list(stoppable) if stoppable else None
        await say(interaction, text, view=view)

    return run


def line_of(services: Services, job: Job) -> QueueLine:
    """Say where one job stands."""
    position = services.queue.position(job.id)
    if position is not None:
        eta = services.worker.eta(position=position, steps=Params.from_json(job.params).steps_run)
        return texts_discord.queue_line(job, position=position, percent=None, eta=eta)
    running = services.worker.running.get(job.id)
    if running is None or running.progress is None:
        percent = 100 if job.state in (JobState.RENDERED, JobState.POSTING) else None
        return texts_discord.queue_line(job, position=None, percent=percent, eta=None)
    pace = services.engine.seconds_per_step
    left = running.steps_left
    eta = None if pace is None or left is None else pace * left
    percent = running.progress.percent
    return texts_discord.queue_line(job, position=None, percent=percent, eta=eta)


def machine(services: Services) -> str:
    """Say what the bot runs on, and for how long."""
    up = texts.seconds(time.monotonic() - services.started).removeprefix("~")
    return f"{services.engine.device} · {jobs.software()} · up {up}"
