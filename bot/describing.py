"""What a picture shows, as prompts behind buttons: for /describe and the message menu.

Promises that a file is opened by `diffusion.pictures` alone, that of a grid one picture is
described and not the sheet, and that a model which cannot name pictures is answered with what to do
about it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import discord

from bot import texts, texts_ideas, texts_trust
from bot.answers import say
from bot.cards import forgotten
from bot.enclosed import EnclosedError, read_enclosed
from bot.jobs import own_picture
from bot.seeing import may_see
from bot.services import Interaction, services_of
from bot.suggestions import offered
from bot.trusted_addons import ChangedAddonError
from diffusion import (
    AbilityError,
    CheckpointError,
    DiffusionError,
    EngineClosedError,
    EngineDeadError,
    PictureError,
)
from diffusion.pictures import decode_picture
from storage import Job, StorageError

if TYPE_CHECKING:
    from discord.ui import View
    from PIL.Image import Image

ACTION: Final = "names"
COUNT: Final = 4

log = logging.getLogger(__name__)


async def describe_attachment(
    interaction: Interaction, attachment: discord.Attachment, model: str | None
) -> None:
    """Answer with prompts for an attached picture; seen by the asker alone."""

    async def attached() -> "Image":
        data = await read_enclosed(attachment)
        return await asyncio.to_thread(decode_picture, data)

    await _answer(interaction, model, attached)


async def describe_stored(interaction: Interaction, state: str) -> None:
    """Answer with prompts for one picture of a job: `state` is `<job>:<index>`."""
    job_id, _, index = state.partition(":")
    store = services_of(interaction).store
    job = await store.job(job_id)
    if job is None or not may_see(interaction, job):
        await say(interaction, texts.unknown_job(job_id))
        return
    stored = await store.pictures(job_id)
    found = next((each for each in stored if str(each.index) == index), None)
    if found is None:
        await say(interaction, texts.picture_gone(0))
        return

    async def kept() -> "Image":
        return await asyncio.to_thread(own_picture, await store.read_picture(found))

    await _answer(interaction, None, kept)


def which_to_describe(job: Job, tiles: Sequence[int]) -> "View":
    """Return a button for each picture of a grid."""
    view = discord.ui.View(timeout=None)
    for tile in tiles:
        view.add_item(discord.ui.Button(label=str(tile), custom_id=f"v1:{ACTION}:{job.id}:{tile}"))
    return forgotten(view)


async def _answer(
    interaction: Interaction, model: str | None, read: "Callable[[], Awaitable[Image]]"
) -> None:
    await interaction.response.defer(ephemeral=True, thinking=True)
    services = services_of(interaction)
    alias = model or services.settings().defaults.model
    if alias not in services.models:
        await say(interaction, texts.unknown_model(alias))
        return
    try:
        prompts = await services.engine.describe(alias, await read(), count=COUNT)
    except EnclosedError as error:
        await say(interaction, str(error))
    except StorageError as error:
        log.error("a picture to describe cannot be read: %s", error)
        await say(interaction, texts.picture_gone(0))
    except AbilityError:
        await say(interaction, texts_ideas.cannot_describe(alias))
    except (EngineClosedError, EngineDeadError):
        await say(interaction, texts.restarting())
    except ChangedAddonError as error:
        await say(interaction, texts_trust.changed_file(error.kind, error.name))
    except CheckpointError as error:
        log.error("the describer of %s cannot be used: %s", alias, error)
        await say(interaction, texts.model_damaged(alias))
    except (PictureError, DiffusionError) as error:
        log.info("a picture could not be described: %s", error)
        await say(interaction, texts_ideas.bad_picture(str(error)))
    else:
        view = await offered(interaction, prompts)
        await say(interaction, texts_ideas.described(prompts), view=view)
