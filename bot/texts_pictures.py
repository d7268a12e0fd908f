"""What people read on and behind the buttons under pictures: labels, headings, refusals, modals.

Promises that every label and every heading stands here once, in English, ready to be translated,
and that text of people went through `bot.escape`. Sends nothing.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from bot.axes import legend
from bot.escape import ALT_LIMIT, code, code_block, cut_utf16, escape, plain
from bot.language import mark, tr
from bot.permissions import Action
from bot.prompt.errors import PromptError
from bot.texts_engine import retold
from bot.texts_jobs import Field
from storage import JobKind, NewJob

LABELS: Final = MappingProxyType(
    {
        Action.SUBTLE_2X: mark("Upscale 2× (Subtle)"),
        Action.CREATIVE_2X: mark("Upscale 2× (Creative)"),
        Action.UP_4X: mark("Upscale 4×"),
        Action.VARY_SUBTLE: mark("Vary (Subtle)"),
        Action.VARY_STRONG: mark("Vary (Strong)"),
        Action.REGION: mark("Vary (Region)"),
        Action.ZOOM_15: mark("Zoom out 1.5×"),
        Action.ZOOM_2: mark("Zoom out 2×"),
        Action.ZOOM_CUSTOM: mark("Custom zoom"),
        Action.SQUARE: mark("Make square"),
        Action.REMIX: mark("Remix"),
        Action.CONTINUE: mark("Continue"),
        Action.KEEP: mark("Keep only {index}"),
        Action.REPORT: mark("Report"),
    }
)
EMOJI: Final = MappingProxyType(
    {
        Action.LEFT: "⬅️",
        Action.RIGHT: "➡️",
        Action.UP: "⬆️",
        Action.DOWN: "⬇️",
        Action.FAVOURITE: "❤️",
    }
)
# What somebody may not do, as in "Only the person who asked for these pictures … can {action}."
DOING: Final = MappingProxyType(
    {
        Action.UPSCALE: mark("post them alone"),
        Action.VARY: mark("vary them"),
        Action.VARY_SUBTLE: mark("vary them"),
        Action.VARY_STRONG: mark("vary them"),
        Action.REGION: mark("vary them"),
        Action.REROLL: mark("paint them again"),
        Action.REMIX: mark("paint them again"),
        Action.CONTINUE: mark("go on with them"),
        Action.SUBTLE_2X: mark("enlarge them"),
        Action.CREATIVE_2X: mark("enlarge them"),
        Action.UP_4X: mark("enlarge them"),
        Action.ZOOM_15: mark("extend them"),
        Action.ZOOM_2: mark("extend them"),
        Action.ZOOM_CUSTOM: mark("extend them"),
        Action.LEFT: mark("extend them"),
        Action.RIGHT: mark("extend them"),
        Action.UP: mark("extend them"),
        Action.DOWN: mark("extend them"),
        Action.SQUARE: mark("extend them"),
        Action.KEEP: mark("drop pictures of this"),
        Action.CANCEL: mark("cancel this"),
        Action.DELETE: mark("delete this"),
        Action.DELETE_SURE: mark("delete this"),
    }
)
# What is said about a grid or a picture that something was made of; {index} is the picture's.
_WAYS: Final = MappingProxyType(
    {
        Action.LEFT: mark("Picture {index} extended to the left for {who}"),
        Action.RIGHT: mark("Picture {index} extended to the right for {who}"),
        Action.UP: mark("Picture {index} extended upwards for {who}"),
        Action.DOWN: mark("Picture {index} extended downwards for {who}"),
    }
)
# An address takes about a hundred characters of the thousand that a field holds.
MOST_LINKS: Final = 7
_MADE: Final = mark("AI-generated")


def label(action: Action, index: int = 0) -> str | None:
    """Return what stands on a button; None for those that `bot.texts` names."""
    if action in EMOJI:
        return EMOJI[action]
    return tr(LABELS[action], index=index) if action in LABELS else None


def heading(job: NewJob, details: Mapping[str, Any]) -> str:
    """Head the message that carries a job's pictures, by its kind and details."""
    who = f"<@{job.requester_id}>"
    return f"{code(job.prompt)} - {_made(job, details, who)} · {tr(_MADE)}"


def made_by_machine(text: str) -> str:
    """Say of a description that what it describes was made by a machine."""
    return f"{tr(_MADE)}: {text}"


def film_alt(prompt: str) -> str:
    """Describe the film of a grid being painted, for people who do not see it."""
    words = plain(prompt, 4000)
    text = tr("Film of pictures being made by a machine from the words: {words}", words=words)
    return cut_utf16(text, ALT_LIMIT)


def _made(job: NewJob, details: Mapping[str, Any], who: str) -> str:
    """Say what was made, for whom."""
    index = job.parent_index
    match job.kind:
        case JobKind.ENLARGE:
            return _enlarged(details, index, who)
        case JobKind.ZOOM:
            factor = f"{float(details.get('factor', 1)):g}"
            return tr(
                "Picture {index} zoomed out {factor}× for {who}",
                index=index,
                factor=factor,
                who=who,
            )
        case JobKind.PAN:
            way = Action(details["way"])
            return tr(_WAYS[way], index=index, who=who)
        case JobKind.SQUARE:
            return tr("Picture {index} made square for {who}", index=index, who=who)
        case JobKind.REGION:
            return tr("Part of picture {index} painted anew for {who}", index=index, who=who)
        case JobKind.VARY:
            return _varied(details, index, who)
        case JobKind.UPSCALE:
            return tr("Picture {index} for {who}", index=index, who=who)
        case JobKind.REROLL:
            return tr("Again for {who}", who=who)
        case JobKind.CONTINUE:
            return tr("Continued for {who}", who=who)
        case JobKind.BLEND:
            return tr("Blended for {who}", who=who)
        case JobKind.MORPH:
            return tr("A film between words for {who}", who=who)
        case JobKind.GRID:
            return _compared(details, who)
        case _:
            return who


def _compared(details: Mapping[str, Any], who: str) -> str:
    axes = details.get("axes", {})
    told = "; ".join(filter(None, (legend(axes.get(side, ())) for side in ("x", "y"))))
    if not told:
        return tr("A comparison for {who}", who=who)
    return tr("A comparison for {who} ({labels})", who=who, labels=escape(told, 600))


def _varied(details: Mapping[str, Any], index: int | None, who: str) -> str:
    match details.get("how"):
        case "subtle":
            return tr("Subtle variations of picture {index} for {who}", index=index, who=who)
        case "strong":
            return tr("Strong variations of picture {index} for {who}", index=index, who=who)
        case _:
            return tr("Variations of picture {index} for {who}", index=index, who=who)


def _enlarged(details: Mapping[str, Any], index: int | None, who: str) -> str:
    factor = details.get("factor", 2)
    if details.get("how") == "creative":
        return tr(
            "Picture {index} enlarged {factor}× (Creative) for {who}",
            index=index,
            factor=factor,
            who=who,
        )
    return tr("Picture {index} enlarged {factor}× for {who}", index=index, factor=factor, who=who)


def origin(parent: str, index: int | None) -> str:
    """Say which picture of which job was the start; `parent` is its id, linked where it can be."""
    if index is None:
        return tr("from {job}", job=parent)
    return tr("from {job}, picture {index}", job=parent, index=index)


def lineage(origin: str | None, made: Sequence[str]) -> Field | None:
    """Return the line of Info with links up and down; None where there is nothing to link."""
    parts = [] if origin is None else [origin]
    if made:
        shown, rest = made[:MOST_LINKS], len(made) - MOST_LINKS
        listed = ", ".join(shown) + (f" … +{rest}" if rest > 0 else "")
        parts.append(tr("made of it: {jobs}", jobs=listed))
    if not parts:
        return None
    return Field(name=tr("Lineage"), value=" · ".join(parts), inline=False)


# Why nothing happens, and what to do instead.


def not_begun() -> str:
    """Answer a button under a job that waits or runs and has no pictures yet."""
    return tr("This job has no pictures yet. Wait until they are here, then press again.")


def no_pictures() -> str:
    """Answer a button under a job that failed or was cancelled."""
    return tr("This job ended without pictures. 🔄 paints them; /imagine starts anew.")


def not_painted(index: int) -> str:
    """Answer "keep only" for a picture that is not being painted."""
    return tr(
        "Picture {index} is not being painted now: the job waits, has ended, or has dropped it.",
        index=index,
    )


def kept(index: int) -> str:
    """Confirm that one picture goes on."""
    return tr(
        "Only picture {index} goes on; the others are dropped and their time is free.", index=index
    )


def not_kept(index: int) -> str:
    """Answer a button of a picture that its job never stored: it was dropped on the way."""
    return tr("There is no picture {index} in this job; /show posts what there is.", index=index)


def too_large(*, width: int, height: int, limit: int) -> str:
    """Refuse to enlarge what is large already."""
    return tr(
        "That would be {width} × {height}; {limit:,} pixels are the most. This picture is as large "
        "as it gets.",
        width=width,
        height=height,
        limit=limit,
    )


def is_square() -> str:
    """Answer "make square" on a square picture."""
    return tr("This picture is square already.")


def nothing_to_paint() -> str:
    """Refuse a zoom that changes nothing."""
    return tr("A zoom of 1 in the same shape changes nothing. Give more than 1, or another --ar.")


def number_wanted(low: str, high: str, typed: str) -> str:
    """Refuse a number of a modal."""
    return tr(
        "{typed} is no number from {low} to {high}. Press again and type one.",
        typed=code(typed, 40),
        low=low,
        high=high,
    )


def one_prompt(count: int) -> str:
    """Refuse several prompts in one where a picture is to become one thing."""
    return tr(
        "This would be {count} jobs. One picture takes one prompt: leave out braces and --repeat.",
        count=count,
    )


def no_region() -> str:
    """Refuse "vary region" without a region."""
    return tr(
        "Say where: choose cells, name the place in words (left, top right, middle), or upload a "
        "mask that is white there."
    )


def empty_mask() -> str:
    """Refuse a mask without white."""
    return tr("This mask is black all over. Paint white what is to be painted anew.")


def unknown_place(word: str) -> str:
    """Refuse a word of a region that names no place."""
    return tr(
        "{word} names no place. These do: left, right, top, bottom, middle, edges, all.",
        word=code(word, 40),
    )


def bad_upload(reason: str) -> str:
    """Refuse an uploaded mask."""
    return tr("The mask cannot be used: {reason}.", reason=escape(retold(reason), 300))


def wrong_prompt(error: PromptError) -> str:
    """Show a fault in a prompt that was typed into a modal."""
    again = tr("Press the button again and mend it; nothing was started.")
    return f"{escape(error.message, 400)}\n{code_block(error.caret())}\n{again}"


def pressed_again() -> str:
    """Answer a press that came at once after the same one."""
    return tr("You pressed this a moment ago, and once is enough. Press it again for one more.")


def no_state() -> str:
    """Answer "continue" where nothing was kept to go on from."""
    return tr("Nothing was kept to go on from: this job ran to its end. 🔄 paints it again.")


def upscaler_failed() -> str:
    """Say that the configured upscaler cannot be used."""
    return tr("The upscaler of this server cannot be used. Tell the admin.")


def favourite_on() -> str:
    """Confirm a favourite."""
    return tr("❤️ Kept among your favourites. Press again to take it out.")


def favourite_off() -> str:
    """Confirm that it is none any more."""
    return tr("Taken out of your favourites.")


# Modals. Titles and labels have at most 45 characters, descriptions 100.

FIELDS: Final = MappingProxyType(
    {
        "prompt": mark("Prompt, with flags"),
        "negative": mark("Without (as --no)"),
        "strength": mark("Strength, 0.05 to 1"),
        "seed": mark("Keep the seed"),
        "zoom": mark("Zoom, 1 to 2"),
        "place": mark("Where, in words"),
        "cells": mark("Where, by cells"),
        "mask": mark("Where, by a mask: white is painted anew"),
    }
)
HINTS: Final = MappingProxyType(
    {
        "strength": mark("0.5 stays near the picture, 0.85 goes far, 1 forgets it."),
        "seed": mark("The same noise with other words; without it, new noise."),
        "zoom": mark("1.5 leaves the picture two thirds as wide. --ar changes the shape."),
        "place": mark("left, right, top, bottom, middle, edges; “top left” is a corner."),
        "cells": mark("The picture in four rows of four; choose any."),
    }
)
CELL: Final = mark("Row {row}, column {column}")


def title(action: Action) -> str:
    """Head a modal."""
    match action:
        case Action.REGION:
            return tr("Vary a region")
        case Action.ZOOM_CUSTOM | Action.ZOOM_15 | Action.ZOOM_2:
            return tr("Zoom out")
        case Action.LEFT | Action.RIGHT | Action.UP | Action.DOWN | Action.SQUARE:
            return tr("Extend")
        case _:
            return tr("Remix")
