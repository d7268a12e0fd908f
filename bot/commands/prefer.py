"""/prefer: shortcuts for prompts, a suffix behind every one, and three switches."""

from typing import Any, Final

from discord import app_commands

from bot import texts_people
from bot.acknowledging import Answer, thinking
from bot.answers import say
from bot.commands.choices import matching
from bot.commands.flag_choices import complete_flags
from bot.preferences import Name, preferred
from bot.services import Interaction, services_of
from bot.shortcuts import ShortcutError, checked_name, checked_suffix, checked_text
from storage import Scope, TooManyMacros

LONGEST: Final = 2000


def prefer() -> app_commands.Group:
    """Make the group of commands."""
    group = app_commands.Group(name="prefer", description=texts_people.COMMANDS["prefer"])
    option = app_commands.Group(name="option", description=texts_people.COMMANDS["option"])
    option.add_command(_set())
    option.add_command(_list())
    group.add_command(_suffix())
    group.add_command(option)
    group.add_command(_toggle("auto_dm", Name.DM))
    group.add_command(_toggle("prompt_in_files", Name.WORDS))
    group.add_command(_toggle("remix", Name.REMIX))
    group.add_command(_toggle("variability", Name.VARIATION))
    return group


def _suffix() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="suffix", description=texts_people.COMMANDS["suffix"])
    @app_commands.describe(suffix=texts_people.OPTIONS["suffix"])
    @app_commands.autocomplete(suffix=complete_flags)
    async def run(
        interaction: Interaction, suffix: app_commands.Range[str, 1, LONGEST] | None = None
    ) -> None:
        store, user_id = services_of(interaction).store, interaction.user.id
        kept = None
        if suffix is not None:
            try:
                kept = checked_suffix(suffix, await store.people.macros(user_id))
            except ShortcutError as error:
                await say(interaction, str(error))
                return
        keeping = store.people.set_preference(Scope.USER, user_id, Name.SUFFIX, kept)
        await thinking(interaction, keeping, Answer.EPHEMERAL)
        await say(interaction, texts_people.suffix_kept(kept))

    return run


def _set() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="set", description=texts_people.COMMANDS["option set"])
    @app_commands.describe(name=texts_people.OPTIONS["name"], value=texts_people.OPTIONS["value"])
    async def run(
        interaction: Interaction,
        name: app_commands.Range[str, 1, 100],
        value: app_commands.Range[str, 1, LONGEST] | None = None,
    ) -> None:
        keeping = _keep(interaction, name, value)
        await say(interaction, await thinking(interaction, keeping, Answer.EPHEMERAL))

    @run.autocomplete("name")
    async def complete(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        kept = await services_of(interaction).store.people.macros(interaction.user.id)
        return [app_commands.Choice(name=one, value=one) for one in matching(current, sorted(kept))]

    return run


async def _keep(interaction: Interaction, typed: str, value: str | None) -> str:
    """Keep a shortcut or drop it; return what to say."""
    store, user_id = services_of(interaction).store, interaction.user.id
    kept = await store.people.macros(user_id)
    try:
        name = checked_name(typed)
        if value is None:
            await store.people.set_macro(user_id, name, None)
            return texts_people.shortcut_dropped(name, was_there=name in kept)
        text = checked_text(name, value, kept)
        await store.people.set_macro(user_id, name, text)
    except ShortcutError as error:
        return str(error)
    except TooManyMacros:
        return texts_people.too_many_shortcuts(len(kept))
    return texts_people.shortcut_kept(name, text)


def _list() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="list", description=texts_people.COMMANDS["option list"])
    async def run(interaction: Interaction) -> None:
        store, user_id = services_of(interaction).store, interaction.user.id
        own = await store.people.preferences(Scope.USER, user_id)
        suffix = own.get(Name.SUFFIX)
        text = texts_people.shortcuts(
            await store.people.macros(user_id), suffix=suffix if isinstance(suffix, str) else ""
        )
        await say(interaction, text)

    return run


def _toggle(command: str, name: Name) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name=command, description=texts_people.COMMANDS[command])
    async def run(interaction: Interaction) -> None:
        services = services_of(interaction)
        holds = await preferred(
            services.store,
            services.settings(),
            services.models,
            user_id=interaction.user.id,
            channel_id=interaction.channel_id,
            guild_id=interaction.guild_id,
        )
        now = holds[name]
        after: object = not now
        if name is Name.VARIATION:
            after = "subtle" if now == "strong" else "strong"
        people, user_id = services.store.people, interaction.user.id
        keeping = people.set_preference(Scope.USER, user_id, name, after)
        await thinking(interaction, keeping, Answer.EPHEMERAL)
        await say(interaction, texts_people.switched(name, after))

    return run
