"""Presses: from a custom_id that may be years old, or forged, to what it does.

Promises that the custom_id is only a question; the answer comes from the database. Every press ends
in an answer, also one whose job is unknown, deleted, foreign or not the presser's to touch. What a
button does lies in `bot.presses`.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Self

import discord

from bot import (
    describing,
    moderation,
    presses_people,
    suggestions,
    texts,
    texts_discord,
    texts_pictures,
    wishes,
)
from bot.answers import say
from bot.history_pages import turn_page
from bot.language import speak
from bot.permissions import Action
from bot.presses import jobs, pictures
from bot.presses.rules import allowed
from bot.prompting import run_fixed, run_permutation
from bot.services import Interaction, services_of
from storage import Job, StorageError

TEMPLATE: Final = r"v\d+:.*"
# What stands in every button up to now, and must work for ever.
VERSION: Final = "v1"

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
        """Answer the press, in the presser's language."""
        if not services_of(interaction).arrivals.is_first(interaction):
            return
        speak(str(interaction.locale))
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
    version, _, rest = custom_id.partition(":")
    if version != VERSION:
        await say(interaction, texts.unknown_button())
        return
    action, _, rest = rest.partition(":")
    if action in OTHERS:
        await OTHERS[action](interaction, rest)
        return
    # Asked before the store is, so that who presses without end costs it nothing.
    repeated = services_of(interaction).repeated
    if action in wishes.FULFILLED and repeated.is_one(interaction, custom_id):
        await say(interaction, texts_pictures.pressed_again())
        return
    job_id, _, index_text = rest.partition(":")
    job = await services_of(interaction).store.job(job_id)
    index = int(index_text) if re.fullmatch(r"\d{1,20}", index_text, re.ASCII) else -1
    if job is None or action not in HANDLERS or index < 0:
        await say(interaction, texts.unknown_job(job_id))
        return
    known = Action(action)
    if await allowed(interaction, known, job):
        await HANDLERS[known](interaction, job, index)


async def _fix(interaction: Interaction, rest: str) -> None:
    await run_fixed(interaction, rest.partition(":")[0])


async def _several(interaction: Interaction, rest: str) -> None:
    await run_permutation(interaction, rest.partition(":")[0])


async def _make_pictures(action: Action, interaction: Interaction, job: Job, index: int) -> None:
    await pictures.press(interaction, action, job, index)


Handler = Callable[[Interaction, Job, int], Awaitable[None]]
# Presses that are about no job: what follows the action is theirs to read.
OTHERS: Final[Mapping[str, Callable[[Interaction, str], Awaitable[None]]]] = MappingProxyType(
    {
        "page": turn_page,
        "fix": _fix,
        suggestions.ACTION: suggestions.take_idea,
        describing.ACTION: describing.describe_stored,
        "perm": _several,
        **presses_people.HANDLERS,
        **moderation.HANDLERS,
    }
)
HANDLERS: Final[Mapping[Action, Handler]] = MappingProxyType(
    {
        Action.INFO: jobs.info,
        Action.CANCEL: jobs.cancel,
        Action.KEEP: jobs.keep,
        Action.REPORT: moderation.report,
        Action.FAVOURITE: jobs.favourite,
        Action.DELETE: jobs.delete,
        Action.DELETE_SURE: jobs.delete_for_good,
        **{action: partial(_make_pictures, action) for action in wishes.FULFILLED},
    }
)
