"""Lists that people look things up in: models, style templates, LoRAs and embeddings.

Promises that a list shows what this server has now, a page at a time, and how to type each thing;
that its buttons hold all they need, `v1:list:<which>:<page>:<search>`; and that no text of a person
becomes a path: names are looked up in tables of what is there. A list narrowed to one entry shows
everything about it, with a picture where the admin laid one beside it.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import discord

from bot import texts_lists
from bot.answers import say
from bot.cards import forgotten
from bot.config import Config
from bot.escape import one_line
from bot.services import Interaction, Services, services_of
from diffusion import DiffusionError
from diffusion.addon_files import enumerate_files
from diffusion.pictures import MAX_PICTURE_BYTES, decode_picture

ACTION: Final = "list"
PER_PAGE: Final = 8
LAST_PAGE: Final = 999
SEARCH_LIMIT: Final = 40
_PREVIEWS: Final = (".preview.png", ".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing of a list: its name, what it is found by, its line, all about it, and the path of
    its picture but for the ending.
    """

    name: str
    words: str
    line: str
    about: str
    beside: Path | None = None


async def models(services: Services) -> list[Entry]:
    """Return the models."""
    first = services.settings().defaults.model
    return [
        Entry(
            name=alias,
            words=f"{alias} {info.name} {info.family}",
            line=texts_lists.model_line(alias, info, is_default=alias == first),
            about=texts_lists.model_about(alias, info),
            beside=_beside(Path(info.path), inside="sheet"),
        )
        for alias, info in sorted(services.models.items())
    ]


async def loras(services: Services) -> list[Entry]:
    """Return the LoRAs and embeddings of every model."""
    return await asyncio.to_thread(_addons, services.settings())


def _addons(config: Config) -> list[Entry]:
    """Look into the folders that config.toml names. Blocks."""
    found = []
    for alias, model in sorted(config.models.items()):
        for folder, show in (
            (model.loras, texts_lists.lora_line),
            (model.embeddings, texts_lists.embedding_line),
        ):
            for name, path in sorted(_files(folder).items()):
                line = show(name, alias)
                found.append(
                    Entry(name=name, words=name, line=line, about=line, beside=_beside(path))
                )
    return found


def _files(folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    try:
        return enumerate_files(folder)
    except (DiffusionError, OSError):
        return {}


def _beside(path: Path, inside: str = "") -> Path:
    """Return where a picture of a model or add-on would lie, but for its ending."""
    if inside and path.suffix != ".safetensors":
        return path / inside
    return path.with_name(path.name.removesuffix(".safetensors"))


async def presets(services: Services) -> list[Entry]:
    """Return the style templates."""
    return [
        Entry(
            name=name,
            words=f"{name} {preset.about} {preset.prompt}",
            line=texts_lists.preset_line(name, preset.prompt, about=preset.about),
            about=texts_lists.preset_about(name, preset),
        )
        for name, preset in sorted(services.settings().presets.items())
    ]


Source = Callable[[Services], Awaitable[list[Entry]]]
LISTS: Final[Mapping[str, Source]] = MappingProxyType(
    {"models": models, "loras": loras, "presets": presets}
)


async def first_page(interaction: Interaction, which: str, search: str | None) -> None:
    """Answer a command with a list."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    await _show(interaction, which, 0, one_line(search or "", SEARCH_LIMIT))


async def turn_list(interaction: Interaction, state: str) -> None:
    """Show the page that a button names."""
    which, _, rest = state.partition(":")
    page, _, search = rest.partition(":")
    if which not in LISTS or not (page.isascii() and page.isdigit()):
        await say(interaction, texts_lists.no_such_list())
        return
    await interaction.response.defer()
    await _show(interaction, which, min(int(page[:4]), LAST_PAGE), search[:SEARCH_LIMIT])


async def _show(interaction: Interaction, which: str, page: int, search: str) -> None:
    everything = await LISTS[which](services_of(interaction))
    wanted = search.casefold().split()
    found = [each for each in everything if all(one in each.words.casefold() for one in wanted)]
    found = [each for each in found if each.name == search] or found
    pages = max(1, -(-len(found) // PER_PAGE))
    page = min(page, pages - 1)
    picture = None
    if len(found) == 1 and search:
        text, picture = found[0].about, await _picture(found[0])
    else:
        lines = [each.line for each in found[page * PER_PAGE :][:PER_PAGE]]
        text = texts_lists.page(which, lines, search=search, page=page + 1, pages=pages)
    await interaction.edit_original_response(
        content=text,
        attachments=[] if picture is None else [picture],
        view=_turners(which, page, search, pages=pages),
        allowed_mentions=discord.AllowedMentions.none(),
    )


async def _picture(entry: Entry) -> discord.File | None:
    found = None if entry.beside is None else await asyncio.to_thread(_read_beside, entry.beside)
    if found is None:
        return None
    ending, data = found
    alt = texts_lists.preview_alt(entry.name)
    return discord.File(io.BytesIO(data), f"preview{ending}", description=alt)


def _read_beside(beside: Path) -> tuple[str, bytes] | None:
    """Return the picture that lies beside a file under the same name. Blocks."""
    for ending in _PREVIEWS:
        path = beside.with_name(beside.name + ending)
        try:
            if not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:
                continue
            data = path.read_bytes()
            decode_picture(data)
        except (OSError, DiffusionError):
            continue
        return f".{ending.rpartition('.')[2]}", data
    return None


def _turners(which: str, page: int, search: str, *, pages: int) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    if pages == 1:
        return forgotten(view)
    for label, target, enabled in (("◀", page - 1, page > 0), ("▶", page + 1, page + 1 < pages)):
        view.add_item(
            discord.ui.Button(
                label=label,
                custom_id=f"v1:{ACTION}:{which}:{max(0, target)}:{search}",
                disabled=not enabled,
            )
        )
    return forgotten(view)
