"""/shorten: which words matter, and shorter prompts to take."""

import logging
from typing import Any

from discord import app_commands

from bot import limits, roles, texts, texts_ideas, texts_trust
from bot.answers import say
from bot.commands.choices import complete_models
from bot.prompt import PromptError, parse
from bot.services import Interaction, services_of
from bot.shortening import marked, shorter
from bot.suggestions import offered
from bot.trusted_addons import ChangedAddonError
from diffusion import AbilityError, DiffusionError, EngineClosedError, EngineDeadError

log = logging.getLogger(__name__)


def shorten() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="shorten", description=texts_ideas.COMMANDS["shorten"])
    @app_commands.describe(prompt=texts_ideas.OPTIONS["shorten"], model=texts.OPTIONS["model"])
    @app_commands.autocomplete(model=complete_models)
    async def run(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, 6000],
        model: str | None = None,
    ) -> None:
        services = services_of(interaction)
        config = roles.settings_of(interaction, services.settings())
        try:
            parsed = parse(prompt)
        except PromptError as error:
            await say(interaction, texts.prompt_error(error))
            return
        refusal = limits.check_length(prompt, config.limits) or limits.check_words(
            parsed.prompt, config.moderation, guild_id=interaction.guild_id
        )
        if refusal is not None:
            await say(interaction, refusal.text)
            return
        alias = parsed.model or model or config.defaults.model
        if alias not in services.models:
            await say(interaction, texts.unknown_model(alias))
            return
        await interaction.response.defer(ephemeral=True, thinking=True)
        await _answer(interaction, alias, parsed.prompt, parsed.text[parsed.words :].strip())

    return run


async def _answer(interaction: Interaction, alias: str, words: str, flags: str) -> None:
    try:
        found = await services_of(interaction).engine.influence(alias, words)
    except AbilityError:
        await say(interaction, texts_ideas.cannot_weigh(alias))
        return
    except (EngineClosedError, EngineDeadError):
        await say(interaction, texts.restarting())
        return
    except ChangedAddonError as error:
        await say(interaction, texts_trust.changed_file(error.kind, error.name))
        return
    except DiffusionError as error:
        log.warning("a prompt could not be looked into: %s", error)
        await say(interaction, texts_ideas.cannot_weigh(alias))
        return
    prompts = shorter(found, flags)
    view = await offered(interaction, prompts) if prompts else None
    await say(interaction, texts_ideas.shortened(marked(found), prompts), view=view)
