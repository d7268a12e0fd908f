"""What a picture shows, as prompts behind buttons: for /describe and the message menu.

Promises that a file is opened by `diffusion.pictures` alone, and that a model which cannot name
pictures is answered with what to do about it.
"""

import asyncio
import logging

import discord

from bot import texts, texts_ideas
from bot.answers import say
from bot.enclosed import EnclosedError, read_enclosed
from bot.services import Interaction, services_of
from bot.suggestions import offered
from diffusion import AbilityError, DiffusionError, EngineClosedError, EngineDeadError, PictureError
from diffusion.pictures import decode_picture

COUNT = 4

log = logging.getLogger(__name__)


async def describe_attachment(
    interaction: Interaction, attachment: discord.Attachment, model: str | None
) -> None:
    """Answer with prompts for an attached picture; seen by the asker alone."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    services = services_of(interaction)
    alias = model or services.settings().defaults.model
    if alias not in services.models:
        await say(interaction, texts.unknown_model(alias))
        return
    try:
        data = await read_enclosed(attachment)
        picture = await asyncio.to_thread(decode_picture, data)
        prompts = await services.engine.describe(alias, picture, count=COUNT)
    except EnclosedError as error:
        await say(interaction, str(error))
    except PictureError as error:
        await say(interaction, texts_ideas.bad_picture(str(error)))
    except AbilityError:
        await say(interaction, texts_ideas.cannot_describe(alias))
    except (EngineClosedError, EngineDeadError):
        await say(interaction, texts.restarting())
    except DiffusionError as error:
        log.warning("a picture could not be described: %s", error)
        await say(interaction, texts_ideas.bad_picture(str(error)))
    else:
        view = await offered(interaction, prompts)
        await say(interaction, texts_ideas.described(prompts), view=view)
