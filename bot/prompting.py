"""From a typed prompt to jobs: parse, resolve, limits; and the way out of a prompt error.

Promises that a prompt that cannot be read is answered with its place and, where the grammar knows
what was meant, with a button that runs the mended prompt, also after a restart.
"""

import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import discord

from bot import jobs, limits, texts
from bot.answers import asked, say
from bot.cards import forgotten
from bot.prompt import PromptError, parse
from bot.resolve import Options, resolve
from bot.services import Interaction, services_of
from storage import NewJob

if TYPE_CHECKING:
    from discord.ui import View

SUGGESTIONS_KEPT: Final = 500
RETYPE_ID: Final = "v1:retype::0"


async def run_prompt(interaction: Interaction, text: str, *, model: str | None) -> None:
    """Accept what was typed, or answer with what is wrong with it."""
    try:
        news = read_prompt(interaction, text, model=model)
    except PromptError as error:
        await _explain(interaction, error, model)
        return
    if isinstance(news, limits.Refusal):
        await say(interaction, news.text)
        return
    await services_of(interaction).intake.accept(interaction, news)


def read_prompt(
    interaction: Interaction, text: str, *, model: str | None
) -> list[NewJob] | limits.Refusal:
    """Return the jobs of a prompt; PromptError when it cannot be read."""
    services = services_of(interaction)
    config = services.settings()
    refusal = limits.check_length(text, config.limits)
    if refusal is not None:
        return refusal
    parsed = parse(text)
    refusal = limits.check_words(parsed.prompt, config.moderation)
    if refusal is not None:
        return refusal
    params = resolve(
        parsed,
        models=services.models,
        config=config,
        seed=secrets.randbits(32),
        options=Options(model=model),
    )
    refusal = limits.check_params(params, config.limits)
    if refusal is not None:
        return refusal
    who = asked(interaction)
    return [
        jobs.imagine_job(one, who, prompt=parsed.text, repeat_index=number)
        for number, one in enumerate(params)
    ]


async def run_fixed(interaction: Interaction, key: str) -> None:
    """Fix and run: from memory, else from the button's own message, else ask to type it again."""
    shown = "" if interaction.message is None else interaction.message.content
    mended = services_of(interaction).suggestions.get(key) or texts.mended_prompt(shown)
    if mended is not None:
        await run_prompt(interaction, mended, model=None)
    else:
        await interaction.response.send_modal(Retype())


class Retype(discord.ui.Modal, title="Imagine"):
    """Asks for the prompt again."""

    prompt: "discord.ui.TextInput[discord.ui.Modal]" = discord.ui.TextInput(
        label="Prompt", style=discord.TextStyle.paragraph, max_length=4000, custom_id="prompt"
    )

    def __init__(self) -> None:
        """Take a custom_id that a later run of the bot knows too."""
        super().__init__(timeout=None, custom_id=RETYPE_ID)

    async def on_submit(self, interaction: Interaction) -> None:
        """Leave it to `run_retyped`, which needs no memory of this modal."""


async def run_retyped(interaction: Interaction) -> None:
    """Run the prompt of a submitted modal, whichever run of the bot showed it."""
    texts_typed = list(_values(interaction.data))
    await run_prompt(interaction, texts_typed[0] if texts_typed else "", model=None)


def _values(part: object) -> Iterator[str]:
    """Yield the texts of a modal's fields, however deep they lie."""
    if isinstance(part, Mapping):
        if isinstance(part.get("value"), str):
            yield part["value"]
        yield from _values(part.get("component"))
        yield from _values(part.get("components"))
    elif isinstance(part, list):
        for each in part:
            yield from _values(each)


async def _explain(interaction: Interaction, error: PromptError, model: str | None) -> None:
    suggestion = error.suggestion
    if suggestion is not None and model is not None and " --model " not in f" {suggestion} ":
        # The option is not part of the text, and the button has only the text.
        suggestion = f"{suggestion} --model {model}"
        error = PromptError(
            error.message, text=error.text, start=error.start, end=error.end, suggestion=suggestion
        )
    view = None
    if suggestion is not None:
        kept = services_of(interaction).suggestions
        kept[str(interaction.id)] = suggestion
        while len(kept) > SUGGESTIONS_KEPT:
            del kept[next(iter(kept))]
        view = _fix_button(str(interaction.id))
    await say(interaction, texts.prompt_error(error), view=view)


def _fix_button(key: str) -> "View":
    view = discord.ui.View(timeout=None)
    view.add_item(
        discord.ui.Button(
            label=texts.LABELS["fix"],
            style=discord.ButtonStyle.success,
            custom_id=f"v1:fix:{key}:0",
        )
    )
    return forgotten(view)
