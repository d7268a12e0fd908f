"""The panel of /settings: one person's own choices, and the defaults of a channel and a server.

Promises that everything it shows is read from the store at that moment and that all its state is in
its custom_ids, `v1:set:<whose>:<name>:<value>`, so that it works after any restart. What belongs to
a channel or a server changes only by the hand of somebody who may manage the server, as Discord
itself says with each press; a forged custom_id reaches no further.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import discord

from bot import texts_people
from bot.acknowledging import Answer, thinking
from bot.answers import rewrite, say
from bot.cards import forgotten
from bot.preferences import (
    PERSONAL,
    SPEEDS,
    VARIATIONS,
    Name,
    Origin,
    Preferred,
    is_possible,
    preferred,
)
from bot.prompt.flags import QUALITIES
from bot.services import Interaction, services_of
from storage import Scope

ACTION: Final = "set"
AS_BEFORE: Final = "="
MORE: Final = ">"
STYLIZES: Final = (0, 50, 100, 250, 500, 750, 1000)
# A menu holds 25 entries: one for "as before", one for "more".
MODELS_A_PAGE: Final = 23

_SWITCHES: Final = (Name.REMIX, Name.RAW, Name.PRIVATE, Name.DM, Name.WORDS)
_WHEELS: Final[Mapping[Name, tuple[str, ...]]] = {Name.VARIATION: VARIATIONS, Name.SPEED: SPEEDS}
_SCOPES: Final[Mapping[str, Origin]] = {
    "u": Origin.USER,
    "c": Origin.CHANNEL,
    "g": Origin.GUILD,
}
_LETTERS: Final = {origin: letter for letter, origin in _SCOPES.items()}


def may_manage(interaction: Interaction) -> bool:
    """Say whether this person may change what holds for everybody here."""
    return interaction.guild_id is not None and interaction.permissions.manage_guild


async def panel(
    interaction: Interaction, whose: Origin, *, page: int = 0
) -> tuple[str, discord.ui.View]:
    """Return what the panel says, and its buttons."""
    services = services_of(interaction)
    holds = await preferred(
        services.store,
        services.settings(),
        services.models,
        user_id=interaction.user.id if whose is Origin.USER else None,
        channel_id=None if whose is Origin.GUILD else interaction.channel_id,
        guild_id=interaction.guild_id,
    )
    shown = [name for name in Name if whose is Origin.USER or name not in PERSONAL]
    text = texts_people.settings(whose, [(name, holds.chosen[name]) for name in shown])
    view = discord.ui.View(timeout=None)
    for row, menu in enumerate(_menus(whose, holds, sorted(services.models), page)):
        menu.row = row
        view.add_item(menu)
    for button in _buttons(whose, holds):
        button.row = 3
        view.add_item(button)
    for button in _last_row(whose, holds, tabs=may_manage(interaction)):
        button.row = 4
        view.add_item(button)
    return text, forgotten(view)


async def answer_setting(interaction: Interaction, state: str) -> None:
    """Do what a button or menu of the panel says: `<whose>:<name>:<value>`."""
    letter, _, rest = state.partition(":")
    name, _, value = rest.partition(":")
    whose = _SCOPES.get(letter)
    if whose is None:
        await say(interaction, texts_people.not_a_setting())
        return
    if whose is not Origin.USER and not may_manage(interaction):
        await say(interaction, texts_people.only_managers())
        return
    data: Any = interaction.data or {}
    chosen = data.get("values") or [value]
    page = 0
    if str(chosen[0]).startswith(MORE):
        page = _number(str(chosen[0]).removeprefix(MORE))
    elif name == "reset":
        await thinking(interaction, _reset(interaction, whose), Answer.EDIT)
    elif name != "tab":
        storing = _store(interaction, whose, name, str(chosen[0]))
        if not await thinking(interaction, storing, Answer.EDIT):
            await say(interaction, texts_people.not_a_setting())
            return
    text, view = await panel(interaction, whose, page=page)
    await rewrite(interaction, text, view)


async def _reset(interaction: Interaction, whose: Origin) -> None:
    """Forget all that the panel shows; a suffix stands in no menu, so it stays."""
    scope, place = _place(interaction, whose)
    for name in Name:
        if name is not Name.SUFFIX:
            await services_of(interaction).store.people.set_preference(scope, place, name, None)


async def _store(interaction: Interaction, whose: Origin, name: str, text: str) -> bool:
    """Keep a choice; False when there is no such choice."""
    if name not in set(Name) or name == Name.SUFFIX:
        return False
    known = Name(name)
    if known in PERSONAL and whose is not Origin.USER:
        return False
    services = services_of(interaction)
    value = None if text == AS_BEFORE else _read(known, text)
    if text != AS_BEFORE and not is_possible(known, value, services.models):
        return False
    scope, place = _place(interaction, whose)
    await services.store.people.set_preference(scope, place, known, value)
    return True


def _place(interaction: Interaction, whose: Origin) -> tuple[Scope, int]:
    match whose:
        case Origin.CHANNEL:
            return Scope.CHANNEL, interaction.channel_id or 0
        case Origin.GUILD:
            return Scope.GUILD, interaction.guild_id or 0
        case _:
            return Scope.USER, interaction.user.id


def _read(name: Name, text: str) -> object:
    """Read a value from a custom_id; what is none comes out as text, which is then impossible."""
    if name in _SWITCHES:
        return {"on": True, "off": False}.get(text, text)
    if name is Name.STYLIZE:
        return _number(text) if text.isascii() and text.isdigit() else text
    if name is Name.QUALITY:
        return {f"{quality:g}": quality for quality in QUALITIES}.get(text, text)
    return text


def _number(text: str) -> int:
    return int(text[:4]) if text.isascii() and text.isdigit() else 0


def _id(whose: Origin, name: str, value: str = "") -> str:
    return f"v1:{ACTION}:{_LETTERS[whose]}:{name}:{value}"


def _menus(
    whose: Origin, holds: Preferred, models: list[str], page: int
) -> Iterator["discord.ui.Select[discord.ui.View]"]:
    page = min(page, max(0, len(models) - 1) // MODELS_A_PAGE)
    names = models[page * MODELS_A_PAGE :][:MODELS_A_PAGE]
    menu = _menu(whose, Name.MODEL, holds, {name: name for name in names})
    if len(models) > MODELS_A_PAGE:
        last = (page + 1) * MODELS_A_PAGE >= len(models)
        value = f"{MORE}{0 if last else page + 1}"
        menu.add_option(label=texts_people.more_models(), value=value)
    yield menu
    yield _menu(whose, Name.QUALITY, holds, {f"{each:g}": each for each in QUALITIES})
    yield _menu(whose, Name.STYLIZE, holds, {str(each): each for each in STYLIZES})


def _menu(
    whose: Origin, name: Name, holds: Preferred, values: Mapping[str, object]
) -> "discord.ui.Select[discord.ui.View]":
    chosen = holds.chosen[name]
    own = chosen.origin is whose
    menu: discord.ui.Select[discord.ui.View] = discord.ui.Select(
        custom_id=_id(whose, name), placeholder=texts_people.setting_name(name)
    )
    menu.add_option(label=texts_people.as_before(name), value=AS_BEFORE, default=not own)
    for text, value in values.items():
        label = texts_people.setting_choice(name, value)
        menu.add_option(label=label, value=text, default=own and value == chosen.value)
    return menu


def _buttons(whose: Origin, holds: Preferred) -> Iterator["discord.ui.Button[discord.ui.View]"]:
    for name, wheel in _WHEELS.items():
        now = holds[name]
        after = wheel[(wheel.index(now) + 1) % len(wheel)]
        yield discord.ui.Button(
            label=texts_people.setting_choice(name, now), custom_id=_id(whose, name, after)
        )
    for name in (Name.REMIX, Name.RAW, Name.PRIVATE):
        yield _switch(whose, name, holds)


def _switch(whose: Origin, name: Name, holds: Preferred) -> "discord.ui.Button[discord.ui.View]":
    is_on = bool(holds[name])
    return discord.ui.Button(
        label=texts_people.setting_choice(name, is_on),
        style=discord.ButtonStyle.success if is_on else discord.ButtonStyle.secondary,
        custom_id=_id(whose, name, "off" if is_on else "on"),
    )


def _last_row(
    whose: Origin, holds: Preferred, *, tabs: bool
) -> Iterator["discord.ui.Button[discord.ui.View]"]:
    if whose is Origin.USER:
        yield _switch(whose, Name.DM, holds)
    if tabs:
        for origin in _SCOPES.values():
            yield discord.ui.Button(
                label=texts_people.tab(origin),
                style=discord.ButtonStyle.primary,
                custom_id=_id(origin, "tab"),
                disabled=origin is whose,
            )
    yield discord.ui.Button(
        label=texts_people.reset(),
        style=discord.ButtonStyle.danger,
        custom_id=_id(whose, "reset"),
    )
