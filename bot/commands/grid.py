"""/grid: settings compared side by side, on one labelled sheet."""

import secrets
from dataclasses import replace
from typing import Any

from discord import app_commands

from bot import jobs, texts_ideas
from bot.answers import asked, say
from bot.axes import AxisError, Comparison, compare, read_axis
from bot.commands.flag_choices import complete_axis
from bot.resolve import Run
from bot.services import Interaction, services_of
from bot.single_plan import single_run
from storage import JobKind, NewJob


def grid() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="grid", description=texts_ideas.COMMANDS["grid"])
    @app_commands.describe(
        prompt=texts_ideas.OPTIONS["compared"],
        x=texts_ideas.OPTIONS["x"],
        y=texts_ideas.OPTIONS["y"],
    )
    @app_commands.autocomplete(x=complete_axis, y=complete_axis)
    async def run(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, 4000],
        x: app_commands.Range[str, 3, 300],
        y: app_commands.Range[str, 3, 300] | None = None,
    ) -> None:
        try:
            across = read_axis(x, prompt)
            down = None if y is None else read_axis(y, prompt)
            comparison = compare(prompt, across, down)
        except AxisError as error:
            await say(interaction, str(error))
            return
        runs: list[Run] = []
        for text in comparison.texts:
            planned = await single_run(interaction, text)
            if planned is None:
                return
            runs.append(planned)
        new = _job(interaction, prompt, comparison, runs)
        await services_of(interaction).intake.accept(interaction, [new])

    return run


def _job(interaction: Interaction, prompt: str, comparison: Comparison, runs: list[Run]) -> NewJob:
    """Make the one job of a comparison: all cells start from the same noise."""
    seed = secrets.randbits(32)
    x, y = comparison.x, comparison.y
    names = {x.name} if y is None else {x.name, y.name}
    typed = "--seed" in prompt.split()
    cells = [
        replace(run.params, images=1, seed=run.params.seed if typed or "seed" in names else seed)
        for run in runs
    ]
    details = {
        **runs[0].details,
        "axes": {
            "x": [x.label(value) for value in x.values],
            "y": [] if y is None else [y.label(value) for value in y.values],
        },
        "cells": [cell.to_json() for cell in cells],
    }
    # Its cost is that of all cells, so it counts as so many pictures.
    params = replace(cells[0], images=len(cells))
    return jobs.new_job(JobKind.GRID, params, asked(interaction), prompt=prompt, details=details)
