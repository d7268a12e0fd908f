"""The pages of /history: what a page shows is in its buttons, so that they turn after any restart.

Promises that nobody pages through jobs of a guild they are not in, nor through private ones of
others: outside a guild everybody sees their own, inside it the guild's alone.
"""

import asyncio
import io
from dataclasses import dataclass
from typing import Final

import discord

from bot import jobs, texts, texts_discord, texts_people, texts_pictures
from bot.cards import forgotten
from bot.judged import is_barred, is_hidden, posted_name
from bot.seeing import may_see
from bot.services import Interaction, Services, services_of
from storage import Job, Picture, StoreDamaged

PER_PAGE: Final = 5
LAST_PAGE: Final = 99
SEARCH_LIMIT: Final = 40
FAVOURITES: Final = "favs"
_AT_ONCE: Final = 100
# Jobs that are looked through for one page, however many of them are others' private ones.
_MOST_LOOKED_AT: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to see. `user_id` 0 is the reader."""

    user_id: int
    page: int
    search: str
    favourites: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One line of a page: the job, and which of its pictures (0 is the grid)."""

    job: Job
    index: int = 0


async def turn_page(interaction: Interaction, state: str) -> None:
    """Show the page that a button names, as `<user>:<page>:<search>`."""
    await interaction.response.defer()
    await show_page(interaction, _asked(state))


async def turn_favourites(interaction: Interaction, state: str) -> None:
    """Show the page of favourites that a button names, as `<user>:<page>:<search>`."""
    await interaction.response.defer()
    await show_page(interaction, _asked(state, favourites=True))


def _asked(state: str, *, favourites: bool = False) -> Asked:
    user, _, rest = state.partition(":")
    page, _, search = rest.partition(":")
    if not (user.isascii() and user.isdigit() and page.isascii() and page.isdigit()):
        user, page, search = "0", "0", ""
    return Asked(
        # An id has at most 19 digits; a longer one is nobody's.
        user_id=int(user[:19]),
        page=min(int(page[:4]), LAST_PAGE),
        search=search[:SEARCH_LIMIT],
        favourites=favourites,
    )


async def show_page(interaction: Interaction, asked: Asked) -> None:
    """Put a page into the answer that was deferred before."""
    services = services_of(interaction)
    wanted = PER_PAGE * (asked.page + 1) + 1
    if asked.favourites:
        found = await _favourites(interaction, asked, wanted)
    else:
        found = await _jobs(interaction, asked, wanted)
    shown = found[PER_PAGE * asked.page :][:PER_PAGE]
    sheet = await _contact_sheet(services, shown)
    has_more = len(found) > PER_PAGE * (asked.page + 1) and asked.page < LAST_PAGE
    await interaction.edit_original_response(
        content=_text(asked, shown),
        attachments=[] if sheet is None else [sheet],
        view=_turners(asked, has_more=has_more),
        allowed_mentions=discord.AllowedMentions.none(),
    )


def _text(asked: Asked, shown: list[Shown]) -> str:
    lines = [texts_discord.history_line(each.job) for each in shown]
    search = asked.search or None
    if asked.favourites:
        places = [each.index for each in shown]
        return texts_people.favourites(lines, places, search=search)
    return texts.history(lines, search=search)


async def _jobs(interaction: Interaction, asked: Asked, wanted: int) -> list[Shown]:
    """Return the newest jobs that the reader may see, as many as wanted."""
    if interaction.guild_id is None and asked.user_id not in (0, interaction.user.id):
        return []
    found: list[Shown] = []
    before: str | None = None
    for _ in range(_MOST_LOOKED_AT // _AT_ONCE):
        page = await services_of(interaction).store.history(
            requester_id=asked.user_id or interaction.user.id,
            # In direct messages there is no guild, and only one's own jobs are shown.
            guild_id=interaction.guild_id,
            search=asked.search or None,
            limit=_AT_ONCE,
            before=before,
        )
        found += [Shown(job=job) for job in page if may_see(interaction, job)]
        if len(found) >= wanted or len(page) < _AT_ONCE:
            break
        before = page[-1].id
    return found[:wanted]


async def _favourites(interaction: Interaction, asked: Asked, wanted: int) -> list[Shown]:
    """Return the reader's favourites that may be seen here, the last marked first."""
    store = services_of(interaction).store
    found: list[Shown] = []
    before: str | None = None
    for _ in range(_MOST_LOOKED_AT // _AT_ONCE):
        page = await store.people.favourites(interaction.user.id, limit=_AT_ONCE, before=before)
        for each in page:
            job = await store.job(each.job_id)
            if job is not None and _fits(interaction, asked, job):
                found.append(Shown(job=job, index=each.index))
        if len(found) >= wanted or len(page) < _AT_ONCE:
            break
        before = page[-1].key
    return found[:wanted]


def _fits(interaction: Interaction, asked: Asked, job: Job) -> bool:
    return (
        job.deleted_at is None
        and asked.user_id in (0, job.requester_id)
        and asked.search.casefold() in job.prompt.casefold()
        and may_see(interaction, job)
    )


async def _contact_sheet(services: Services, shown: list[Shown]) -> discord.File | None:
    """Return one small picture with the page's pictures side by side; None when none is kept."""
    kept: list[tuple[Job, bytes]] = []
    hidden = False
    for each in shown:
        pictures = await services.store.pictures(each.job.id)
        picture = next((one for one in pictures if one.index == each.index), None)
        data = None if picture is None else await _read(services, picture)
        if picture is not None and data is not None:
            kept.append((each.job, data))
            # Only the reader sees the page, but in whatever channel it was asked for.
            barred = is_barred(picture.media_type, restricted=False)
            hidden = hidden or barred or is_hidden(picture, each.job)
    if not kept:
        return None
    sheet = await asyncio.to_thread(jobs.encode_contact_sheet, kept, services.models)
    lines = [texts_discord.history_line(job) for job, _ in kept]
    alt = texts_pictures.made_by_machine(texts.history(lines))
    name = posted_name("easel-history.jpg", hidden=hidden)
    return discord.File(io.BytesIO(sheet), name, description=alt[:1024])


async def _read(services: Services, picture: Picture) -> bytes | None:
    """Return a still picture's file; a film has no place on a sheet."""
    try:
        data = await services.store.read_picture(picture)
    except StoreDamaged:
        return None
    return None if jobs.is_animation(data) else data


def _turners(asked: Asked, *, has_more: bool) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    action = FAVOURITES if asked.favourites else "page"
    search = asked.search[:SEARCH_LIMIT]
    turns = (("◀", asked.page - 1, asked.page > 0), ("▶", asked.page + 1, has_more))
    for label, target, enabled in turns:
        view.add_item(
            discord.ui.Button(
                label=label,
                custom_id=f"v1:{action}:{asked.user_id}:{max(0, target)}:{search}",
                disabled=not enabled,
            )
        )
    return forgotten(view)
