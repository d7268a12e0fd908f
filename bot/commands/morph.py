"""/morph: a film that goes from one prompt to another."""

from dataclasses import replace
from typing import Any, Final

from discord import app_commands

from bot import jobs, texts_ideas
from bot.answers import asked, say
from bot.morphing import MOST_FRAMES
from bot.services import Interaction, services_of
from bot.single_plan import single_run
from diffusion import ParamsError
from storage import JobKind

MOST_PHRASES: Final = 36
FRAMES: Final = 8


def morph() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="morph", description=texts_ideas.COMMANDS["morph"])
    @app_commands.rename(begin="from", end="to")
    @app_commands.describe(
        begin=texts_ideas.OPTIONS["from"],
        end=texts_ideas.OPTIONS["to"],
        through=texts_ideas.OPTIONS["through"],
        frames=texts_ideas.OPTIONS["frames"],
    )
    async def run(
        interaction: Interaction,
        begin: app_commands.Range[str, 1, 4000],
        end: app_commands.Range[str, 1, 1000],
        through: app_commands.Range[str, 1, 4000] | None = None,
        frames: app_commands.Range[int, 2, MOST_FRAMES] = FRAMES,
    ) -> None:
        between = [each.strip() for each in (through or "").split("|") if each.strip()]
        phrases = (*between, end.strip())
        if len(phrases) + 1 > MOST_PHRASES:
            await say(interaction, texts_ideas.too_many_phrases(MOST_PHRASES))
            return
        if frames < len(phrases) + 1:
            await say(interaction, texts_ideas.too_few_frames(len(phrases) + 1))
            return
        planned = await single_run(interaction, begin)
        if planned is None:
            return
        try:
            params = replace(planned.params, images=frames, morph=phrases)
        except ParamsError as error:
            await say(interaction, texts_ideas.bad_phrases(error.advice))
            return
        shown = " → ".join([planned.text, *phrases])
        new = jobs.new_job(
            JobKind.MORPH, params, asked(interaction), prompt=shown, details=planned.details
        )
        await services_of(interaction).intake.accept(interaction, [new])

    return run
