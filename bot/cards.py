"""What stands under and beside pictures: rows of buttons, and the Info card.

Promises that every button's state is its custom_id, `v1:<action>:<job>:<index>`, so that it works
after any restart. The views are never kept in memory: presses find their way by the pattern alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import discord

from bot import texts, texts_pictures
from bot.jobs import details_of
from bot.language import tr
from bot.permissions import Action
from bot.texts import Field
from diffusion import Params
from storage import Job, JobKind

if TYPE_CHECKING:
    from discord.ui import Button, View

COLOUR: Final = 0x5865F2
MOST_TILES: Final = 4
# What is posted whole: there are no single pictures to go on with.
SHEETS: Final = frozenset({JobKind.MORPH, JobKind.GRID})


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
    text = label or texts_pictures.label(action, index)
    text = text or tr(texts.LABELS[action], index=index)
    is_emoji = not any(sign.isalnum() for sign in text)
    return discord.ui.Button(
        label=None if is_emoji else text,
        emoji=text if is_emoji else None,
        style=style,
        custom_id=custom_id(action, job_id, index),
        row=row,
    )


def under_progress(job: Job) -> "View":
    """Return what stands under a job that waits."""
    return _view(button(Action.CANCEL, job.id, style=discord.ButtonStyle.danger))


def under_running(job: Job, images: Sequence[int]) -> "View":
    """Return what stands under a job that is painted: cancel it, or keep one picture (from 0)."""
    few = 1 < len(images) <= MOST_TILES and job.kind not in SHEETS
    kept = [number + 1 for number in images] if few else []
    return _view(
        button(Action.CANCEL, job.id, style=discord.ButtonStyle.danger, row=0),
        *(button(Action.KEEP, job.id, tile, row=1) for tile in kept),
    )


def under_failure(job: Job) -> "View":
    """Return what stands under a job that failed: try again, and everything about it."""
    return _view(button(Action.REROLL, job.id), button(Action.INFO, job.id))


def under_result(
    job: Job, tiles: Sequence[int] | None = None, *, can_continue: bool = False
) -> "View":
    """Return what stands under a job's pictures.

    `tiles` are the numbers of its single pictures, where some were dropped on the way.
    """
    numbers = tuple(tiles or range(1, min(job.images, MOST_TILES) + 1))
    if job.kind in SHEETS:
        return under_sheet(job)
    if len(numbers) == 1:
        return under_single(job, numbers[0], can_continue=can_continue)
    return under_grid(job, numbers, can_continue=can_continue)


def under_grid(job: Job, tiles: Sequence[int], *, can_continue: bool = False) -> "View":
    """Return U1-U4 and re-roll, then V1-V4 and Info."""
    more = [button(Action.CONTINUE, job.id, style=discord.ButtonStyle.success, row=2)]
    return _view(
        *(button(Action.UPSCALE, job.id, tile, row=0) for tile in tiles),
        button(Action.REROLL, job.id, style=discord.ButtonStyle.primary, row=0),
        *(button(Action.VARY, job.id, tile, row=1) for tile in tiles),
        button(Action.INFO, job.id, row=1),
        *(more if can_continue else ()),
    )


def under_single(job: Job, tile: int = 1, *, can_continue: bool = False) -> "View":
    """Return everything that can be done with one picture, in five rows."""
    rows = [
        [Action.SUBTLE_2X, Action.CREATIVE_2X, Action.UP_4X],
        [Action.VARY_SUBTLE, Action.VARY_STRONG, Action.REGION],
        [Action.ZOOM_15, Action.ZOOM_2, Action.ZOOM_CUSTOM],
        [Action.LEFT, Action.RIGHT, Action.UP, Action.DOWN],
        [Action.FAVOURITE, Action.INFO, Action.REMIX, Action.REPORT, Action.DELETE],
    ]
    if not is_square(job):
        rows[2].append(Action.SQUARE)
    if can_continue:
        rows[0].append(Action.CONTINUE)
    if is_painted(job):
        rows[3].append(Action.REROLL)
    return _view(
        *(
            button(action, job.id, _index_of(action, tile), style=_style(action), row=row)
            for row, actions in enumerate(rows)
            for action in actions
        )
    )


def under_sheet(job: Job) -> "View":
    """Return what can be done with a film or a comparison."""
    return _view(
        button(Action.REROLL, job.id, style=discord.ButtonStyle.primary),
        button(Action.FAVOURITE, job.id, 0),
        button(Action.INFO, job.id),
        button(Action.REPORT, job.id),
        button(Action.DELETE, job.id, style=discord.ButtonStyle.danger),
    )


def is_square(job: Job) -> bool:
    """Tell whether a job's pictures are as wide as high."""
    params = Params.from_json(job.params)
    return params.width == params.height


def is_painted(job: Job) -> bool:
    """Tell whether other noise would give another picture."""
    if job.kind is JobKind.ENLARGE:
        return details_of(job).get("how") == "creative"
    return job.kind is not JobKind.UPSCALE


# What is about the whole job, wherever its button stands.
_WHOLE: Final = frozenset({Action.INFO, Action.REROLL, Action.CONTINUE, Action.DELETE})


def _index_of(action: Action, tile: int) -> int:
    return 0 if action in _WHOLE else tile


def _style(action: Action) -> discord.ButtonStyle:
    styles = {
        Action.DELETE: discord.ButtonStyle.danger,
        Action.CONTINUE: discord.ButtonStyle.success,
        Action.REROLL: discord.ButtonStyle.primary,
    }
    return styles.get(action, discord.ButtonStyle.secondary)


def which(job: Job, action: Action, tiles: Sequence[int]) -> "View":
    """Return a button for each picture of a grid, where one has to be chosen."""
    return _view(*(button(action, job.id, tile, label=str(tile)) for tile in tiles))


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
                label=tr("Cancel {job}", job=job.id[:6]),
                style=discord.ButtonStyle.danger,
                row=number // 5,
            )
            for number, job in enumerate(jobs[:25])
        )
    )


def info_embed(fields: tuple[Field, ...]) -> discord.Embed:
    """Lay out the Info card."""
    embed = discord.Embed(title=tr("Info"), colour=COLOUR)
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
