"""/my-data: everything that is kept about a person, as files for their eyes alone.

Promises that nothing is left out silently: what does not fit into the files Discord takes is
counted, and said. Reading and packing happen in threads.
"""

import asyncio
import io
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import discord
from discord import app_commands

from bot import texts_papers, texts_people
from bot.answers import say
from bot.services import Interaction, Services, services_of
from storage import Export, Picture, StorageError

NAME: Final = "easel-my-data"
# What a zip file adds to each of its files: two headers and a name twice.
_PER_FILE: Final = 300
_RESERVE: Final = 2000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The files to send, and how many pictures are in them."""

    files: tuple[tuple[str, bytes], ...]
    pictures: int


def my_data() -> app_commands.Command[Any, ..., None]:
    """Make the command."""

    @app_commands.command(name="my-data", description=texts_people.COMMANDS["my-data"])
    async def run(interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services = services_of(interaction)
        export = await services.store.export(interaction.user.id)
        pack = await _pack(services, export, limit=interaction.filesize_limit)
        if pack is None:
            await say(interaction, texts_papers.data_too_large())
            return
        await interaction.edit_original_response(
            content=texts_papers.data(export, pictures=pack.pictures),
            attachments=[discord.File(io.BytesIO(data), name) for name, data in pack.files],
            allowed_mentions=discord.AllowedMentions.none(),
        )

    return run


async def _pack(services: Services, export: Export, *, limit: int) -> Pack | None:
    """Put the data into one file, the pictures into another; None when even the data is too much.

    Of the pictures the newest come first; each file of the store is packed once.
    """
    text = await asyncio.to_thread(lambda: export.to_json().encode())
    name, data = f"{NAME}.json", text
    if len(data) > limit:
        name, data = f"{NAME}.zip", await asyncio.to_thread(_zipped, [(f"{NAME}.json", text)])
        if len(data) > limit:
            return None
    pictures, count = await _pictures(services, export, limit)
    files = [(name, data)]
    if pictures:
        packed = await asyncio.to_thread(_zipped, pictures)
        files.append((f"{NAME}-pictures.zip", packed))
    return Pack(files=tuple(files), pictures=count)


async def _pictures(
    services: Services, export: Export, limit: int
) -> tuple[list[tuple[str, bytes]], int]:
    """Read as many pictures as fit; return them, and how many pictures of the list they are."""
    room, kept = limit - _RESERVE, dict[str, tuple[str, bytes]]()
    count = 0
    for picture in reversed(export.pictures):
        if picture.sha256 in kept:
            count += 1
            continue
        room -= picture.size + _PER_FILE
        if room < 0:
            break
        try:
            data = await services.store.read_picture(picture)
        except StorageError as error:
            log.error("a picture of job %s cannot be read: %s", picture.job_id, error)
            continue
        kept[picture.sha256] = (_file_name(picture), data)
        count += 1
    return list(kept.values()), count


def _file_name(picture: Picture) -> str:
    # A parameter of the type may say more about the picture.
    ending = picture.media_type.partition(";")[0].rpartition("/")[2]
    ending = ending if ending.isalnum() else "bin"
    return f"easel-{picture.job_id}-{picture.index}.{ending}"


def _zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a zip file. Blocks. Pictures are compressed already, text is not."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            packed = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), data, packed)
    return out.getvalue()
