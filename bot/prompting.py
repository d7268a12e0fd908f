"""From a typed prompt to jobs: read, limited, asked about where they are many; and the way out of a
prompt error.

Promises that a prompt that cannot be read is answered with its place and, where the grammar knows
what was meant, with a button that runs the mended prompt; and that a prompt which stands for
several is asked about first. What the buttons need is kept in the database, for years.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import discord

from bot import intake, limits, roles, texts, texts_prompting
from bot.acknowledging import Answer, thinking
from bot.answers import rewrite, say
from bot.cards import forgotten
from bot.estimates import work_of
from bot.language import tr
from bot.prompt import PromptError
from bot.queue import share_of
from bot.reading import Plan, Typed, news_of, read_plan, typed_from
from bot.services import Interaction, services_of
from diffusion import Params
from storage import NewJob, StorageError

if TYPE_CHECKING:
    from discord.ui import View

MENDED: Final = "mended"
PERMUTATION: Final = "permutation"
RETYPE_ID: Final = "v1:retype::0"
# The one button of a question that needs no note.
NOTHING: Final = "no"
_MOST_BUTTONS: Final = 3

log = logging.getLogger(__name__)


async def run_prompt(
    interaction: Interaction,
    text: str,
    *,
    model: str | None,
    preset: str | None = None,
    image: str | None = None,
) -> None:
    """Accept what was typed, or answer with what is wrong with it; `image` is a kept picture."""
    await _run(interaction, Typed(text=text, model=model, preset=preset, image=image))


async def run_fixed(interaction: Interaction, key: str) -> None:
    """Fix and run: from its note, else from the button's own message, else ask to type it again."""
    typed = await _noted(interaction, MENDED, key)
    if typed is None:
        shown = "" if interaction.message is None else interaction.message.content
        mended = texts.mended_prompt(shown)
        typed = None if mended is None else Typed(text=mended)
    if typed is not None:
        await _run(interaction, typed)
    else:
        await interaction.response.send_modal(Retype())


async def run_permutation(interaction: Interaction, note_id: str) -> None:
    """Go or No: start the jobs that were asked about, once, or say that none were started."""
    if note_id == NOTHING:
        await rewrite(interaction, texts_prompting.nothing_started(), None)
        return
    typed = await _noted(interaction, PERMUTATION, note_id)
    if typed is None:
        await say(interaction, texts_prompting.question_gone())
        return
    if not await _run(interaction, typed, is_sure=True):
        await say(interaction, texts_prompting.already_started())


class Retype(discord.ui.Modal):
    """Asks for the prompt again."""

    def __init__(self) -> None:
        """Take a custom_id that a later run of the bot knows too."""
        super().__init__(title=tr("Imagine"), timeout=None, custom_id=RETYPE_ID)
        prompt: discord.ui.TextInput[Retype] = discord.ui.TextInput(
            label=tr("Prompt"),
            style=discord.TextStyle.paragraph,
            max_length=4000,
            custom_id="prompt",
        )
        self.add_item(prompt)

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


async def _run(interaction: Interaction, typed: Typed, *, is_sure: bool = False) -> bool:
    """Answer a prompt; False where its jobs were taken in before and nothing was said."""
    try:
        plan = await thinking(interaction, read_plan(interaction, typed))
    except PromptError as error:
        await _explain(interaction, error, typed)
        return True
    if isinstance(plan, limits.Refusal):
        await say(interaction, plan.text)
        return True
    if plan.is_several and not is_sure:
        await _ask(interaction, plan, typed)
        return True
    try:
        news = await thinking(interaction, news_of(interaction, plan, typed))
    except StorageError as error:
        log.info("the picture of a prompt of %d is gone: %s", interaction.user.id, error)
        await say(interaction, texts_prompting.picture_gone())
        return True
    return await services_of(interaction).intake.accept(interaction, news)


async def _ask(interaction: Interaction, plan: Plan, typed: Typed) -> None:
    """Ask before one prompt becomes many jobs; what would be refused is refused now."""
    services = services_of(interaction)
    settings = roles.settings_of(interaction, services.settings())
    news = await news_of(interaction, plan, replace(typed, image=None))
    refusal = intake.check_jobs(interaction, news, settings)
    if refusal is not None:
        await say(interaction, refusal.text)
        return
    once = replace(typed, interaction_id=interaction.id)
    noting = services.store.people.note(PERMUTATION, interaction.user.id, once.to_json())
    note_id = await thinking(interaction, noting, Answer.EPHEMERAL)
    question = texts_prompting.permutation_asked(
        [run.text for run in plan.runs], jobs=len(plan.runs), eta=_cost(interaction, news)
    )
    await say(interaction, question, view=_question(note_id))


def _cost(interaction: Interaction, news: list[NewJob]) -> float | None:
    """Return the seconds of the device that jobs take; None while nothing was measured."""
    services = services_of(interaction)
    if services.engine.seconds_per_step is None:
        return None
    estimates = services.worker.estimates
    works = [work_of(Params.from_json(new.params), share_of(new.details)) for new in news]
    return sum(estimates.cost(work) for work in works)


async def _noted(interaction: Interaction, kind: str, note_id: str) -> Typed | None:
    """Return what a note of the presser's holds; what is somebody else's is unknown."""
    note = await services_of(interaction).store.people.read_note(note_id)
    if note is None or note.kind != kind or note.user_id != interaction.user.id:
        return None
    return typed_from(note.payload)


async def _explain(interaction: Interaction, error: PromptError, typed: Typed) -> None:
    """Say what is wrong with a prompt, with buttons that run it mended."""
    choices = error.choices[:_MOST_BUTTONS]
    suggestion = error.suggestion
    if not choices and suggestion is not None:
        # The options are not part of the text, and what is shown is to work where it is typed.
        suggestion = _with_options(suggestion, typed)
        choices = ((tr(texts.LABELS["fix"]), suggestion),)
        error = PromptError(
            error.message, text=error.text, start=error.start, end=error.end, suggestion=suggestion
        )
    view = None
    if choices:
        view = discord.ui.View(timeout=None)
        for label, mended in choices:
            view.add_item(await _fix_button(interaction, label, replace(typed, text=mended)))
    shown = None if view is None else forgotten(view)
    await say(interaction, texts.prompt_error(error), view=shown)


def _with_options(suggestion: str, typed: Typed) -> str:
    for name, value in (("model", typed.model), ("preset", typed.preset)):
        if value is not None and f" --{name} " not in f" {suggestion} ":
            suggestion = f"{suggestion} --{name} {value}"
    return suggestion


async def _fix_button(
    interaction: Interaction, label: str, mended: Typed
) -> "discord.ui.Button[View]":
    try:
        store = services_of(interaction).store
        noting = store.people.note(MENDED, interaction.user.id, mended.to_json())
        key = await thinking(interaction, noting, Answer.EPHEMERAL)
    except StorageError as error:
        # The button then reads the message that it stands under.
        log.warning("a mended prompt could not be kept: %s", error)
        key = str(interaction.id)
    return _button(label, "fix", key, style=discord.ButtonStyle.success)


def _question(note_id: str) -> "View":
    view = discord.ui.View(timeout=None)
    labels = texts_prompting.LABELS
    view.add_item(_button(tr(labels["go"]), "perm", note_id, style=discord.ButtonStyle.success))
    view.add_item(_button(tr(labels["no"]), "perm", NOTHING))
    return forgotten(view)


def _button(
    label: str,
    action: str,
    key: str,
    *,
    style: discord.ButtonStyle = discord.ButtonStyle.secondary,
) -> "discord.ui.Button[View]":
    return discord.ui.Button(label=label[:80], style=style, custom_id=f"v1:{action}:{key}:0")
