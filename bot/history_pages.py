"""The pages of /history: what a page shows is in its buttons, so that they turn after any restart.

Promises that nobody pages through jobs of a guild they are not in: outside a guild everybody sees
their own, inside it the guild's alone.
"""

import asyncio
import io
from typing import Final

import discord

from bot import jobs, texts, texts_discord
from bot.cards import forgotten
from bot.services import Interaction, Services, services_of
from storage import Job, StoreDamaged

PER_PAGE: Final = 5
LAST_PAGE: Final = 99
SEARCH_LIMIT: Final = 40


async def turn_page(interaction: Interaction, state: str) -> None:
    """Show the page that a button names, as `<user>:<page>:<search>`."""
    user, _, rest = state.partition(":")
    page, _, search = rest.partition(":")
    if not (user.isascii() and user.isdigit() and page.isascii() and page.isdigit()):
        user, page, search = "0", "0", ""
    await interaction.response.defer()
    await show_page(interaction, int(user), min(int(page[:4]), LAST_PAGE), search)


async def show_page(interaction: Interaction, user_id: int, page: int, search: str) -> None:
    """Put a page into the answer that was deferred before. `user_id` 0 is the reader."""
    services = services_of(interaction)
    found = await services.store.history(
        requester_id=user_id or interaction.user.id,
        # In direct messages there is no guild, and only one's own jobs are shown.
        guild_id=interaction.guild_id,
        search=search or None,
        limit=PER_PAGE * (page + 1) + 1,
    )
    if interaction.guild_id is None and user_id not in (0, interaction.user.id):
        found = []
    shown = found[PER_PAGE * page :][:PER_PAGE]
    lines = [texts_discord.history_line(job) for job in shown]
    sheet = await _contact_sheet(services, shown)
    has_more = len(found) > PER_PAGE * (page + 1)
    await interaction.edit_original_response(
        content=texts.history(lines, search=search or None),
        attachments=[] if sheet is None else [sheet],
        view=_turners(user_id, page, search, has_more=has_more),
        allowed_mentions=discord.AllowedMentions.none(),
    )


async def _contact_sheet(services: Services, shown: list[Job]) -> discord.File | None:
    """Return one small picture with the page's grids side by side; None when none is kept."""
    kept: list[tuple[Job, bytes]] = []
    for job in shown:
        for picture in await services.store.pictures(job.id):
            if picture.index == 0:
                try:
                    kept.append((job, await services.store.read_picture(picture)))
                except StoreDamaged:
                    continue
    if not kept:
        return None
    data = await asyncio.to_thread(jobs.encode_contact_sheet, kept, services.models)
    alt = texts.history([texts_discord.history_line(job) for job, _ in kept])
    return discord.File(io.BytesIO(data), "easel-history.jpg", description=alt[:1024])


def _turners(user_id: int, page: int, search: str, *, has_more: bool) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for label, target, enabled in (("◀", page - 1, page > 0), ("▶", page + 1, has_more)):
        view.add_item(
            discord.ui.Button(
                label=label,
                custom_id=f"v1:page:{user_id}:{max(0, target)}:{search[:SEARCH_LIMIT]}",
                disabled=not enabled,
            )
        )
    return forgotten(view)
