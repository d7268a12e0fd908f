"""What stands under and beside pictures: rows of buttons, and the Info card.

Promises that every button's state is its custom_id, `v1:<action>:<job>:<index>`, so that it works
after any restart. The views are never kept in memory: presses find their way by the pattern alone.
"""

from typing import TYPE_CHECKING, Final

import discord

from bot import texts
from bot.permissions import Action
from bot.texts import Field
from storage import Job, JobKind

if TYPE_CHECKING:
    from discord.ui import Button, View

COLOUR: Final = 0x5865F2
MOST_TILES: Final = 4


def custom_id(action: Action, job_id: str, index: int = 0) -> str:
    """Write the state of a button."""
    return f"v1:{action}:{job_id}:{index}"


def button(
    action: Action,
    job_id: str,
    index: int = 0,
    *,
    label: str | None = None,
    style: discord.ButtonStyle = discord.ButtonStyle.secondary,
    row: int | None = None,
) -> "Button[View]":
    """Make one button of a job."""
    text = label or texts.LABELS[action].format(index=index)
    is_emoji = not text.isascii()
    return discord.ui.Button(
        label=None if is_emoji else text,
        emoji=text if is_emoji else None,
        style=style,
        custom_id=custom_id(action, job_id, index),
        row=row,
    )


def under_progress(job: Job) -> "View":
    """Return what stands under a job that waits or runs."""
    return _view(button(Action.CANCEL, job.id, style=discord.ButtonStyle.danger))


def under_failure(job: Job) -> "View":
    """Return what stands under a job that failed: try again, and everything about it."""
    return _view(button(Action.REROLL, job.id), button(Action.INFO, job.id))


def under_result(job: Job) -> "View":
    """Return what stands under a job's pictures."""
    return under_single(job) if job.kind is JobKind.UPSCALE else under_grid(job)


def under_grid(job: Job) -> "View":
    """Return U1-U4 and re-roll, then V1-V4 and Info."""
    tiles = range(1, min(job.images, MOST_TILES) + 1)
    return _view(
        *(button(Action.UPSCALE, job.id, tile, row=0) for tile in tiles),
        button(Action.REROLL, job.id, style=discord.ButtonStyle.primary, row=0),
        *(button(Action.VARY, job.id, tile, row=1) for tile in tiles),
        button(Action.INFO, job.id, row=1),
    )


def under_single(job: Job) -> "View":
    """Return Vary, Info and Delete."""
    return _view(
        button(Action.VARY, job.id, 1, label="Vary"),
        button(Action.INFO, job.id),
        button(Action.DELETE, job.id, style=discord.ButtonStyle.danger),
    )


def under_question(job: Job, message_id: int) -> "View":
    """Return the one answer to "delete?"; its index is the message to delete."""
    sure = button(Action.DELETE_SURE, job.id, message_id, style=discord.ButtonStyle.danger)
    return _view(sure)


def under_list(jobs: list[Job]) -> "View":
    """Return a Cancel button for each of somebody's jobs, as many as fit."""
    return _view(
        *(
            button(
                Action.CANCEL,
                job.id,
                label=f"Cancel {job.id[:6]}",
                style=discord.ButtonStyle.danger,
                row=number // 5,
            )
            for number, job in enumerate(jobs[:25])
        )
    )


def info_embed(fields: tuple[Field, ...]) -> discord.Embed:
    """Lay out the Info card."""
    embed = discord.Embed(title="Info", colour=COLOUR)
    for field in fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    return embed


def forgotten(view: "View") -> "View":
    """Keep discord.py from holding on to a view: its buttons are found by their pattern."""
    view.stop()
    return view


def _view(*buttons: "Button[View]") -> "View":
    view = discord.ui.View(timeout=None)
    for each in buttons:
        view.add_item(each)
    return forgotten(view)
