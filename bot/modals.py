"""The modals of picture buttons: what they ask, and reading what came back.

Promises that a modal's state is its custom_id, `v1:m<action>:<job>:<index>`, so that it can be sent
off after any restart; what comes back is read from the raw event, never from a modal that this
process remembers. Never decides what happens with it: `bot.presses.remix` does.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import discord

from bot.canvases import COLUMNS, ROWS, Cell
from bot.jobs import Draft, Origin
from bot.language import tr
from bot.permissions import Action
from bot.prompt import FLAGS, PromptError, parse
from bot.prompt.mend import splice
from bot.texts_pictures import CELL, FIELDS, HINTS, title

if TYPE_CHECKING:
    from discord.ui import Item

_MODAL: Final = re.compile(r"v1:m([a-z0-9]+):([^:]*):(\d{1,20})", re.ASCII)
_LONGEST: Final = 4000
# Of short fields; others have room for a few words.
_LENGTHS: Final = MappingProxyType({"strength": 6, "zoom": 6})
# These have fields of their own, or belong to the grid that they were typed for.
_LEFT_OUT: Final = frozenset({"no", "repeat", "seed"}) | {
    flag.name for flag in FLAGS if not flag.carries
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What somebody sent off: texts, choices and files by the names of their fields."""

    action: Action
    job_id: str
    index: int
    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return what stands in a text field."""
        value = self.values.get(name)
        return value.strip() if isinstance(value, str) else ""

    def chosen(self, name: str) -> tuple[str, ...]:
        """Return what was chosen in a menu."""
        value = self.values.get(name)
        return tuple(map(str, value)) if isinstance(value, list) else ()


def modal_for(
    action: Action, origin: Origin, draft: Draft, strength: float | None
) -> discord.ui.Modal:
    """Make the modal that a button opens."""
    custom_id = f"v1:m{action}:{origin.job.id}:{origin.index}"
    modal = discord.ui.Modal(title=title(action), timeout=None, custom_id=custom_id)
    prompt = prefilled(draft)
    parts = [_text("prompt", prompt, long=True, required=True)]
    if action is Action.REGION:
        parts += [_text("place"), _cells(), _mask()]
    else:
        parts.append(_text("negative", draft.params.negative_prompt, long=True))
    if action is Action.ZOOM_CUSTOM:
        parts.append(_text("zoom", "2"))
    if strength is not None:
        parts.append(_text("strength", f"{strength:g}"))
    if action is not Action.REGION:
        parts.append(_labelled("seed", discord.ui.Checkbox(custom_id="seed")))
    for part in parts:
        modal.add_item(part)
    # A view that has ended is not remembered: the answer is read from the raw event.
    modal.stop()
    return modal


def prefilled(draft: Draft) -> str:
    """Return the words with the flags that variations take over, for the prompt's field.

    Text that is no prompt any more (an older grammar's) is shown by its words alone.
    """
    text = draft.prompt
    try:
        parsed = parse(text)
    except PromptError:
        return draft.params.prompt[:_LONGEST]
    spans = [span for name, span in parsed.spans.items() if name in _LEFT_OUT]
    for span in sorted(spans, key=lambda each: each.flag, reverse=True):
        text = splice(text, span.flag, span.end, "")
    return text[:_LONGEST]


def read_modal(data: Mapping[str, Any]) -> Typed | None:
    """Read a modal that was sent off; None when it is none of these."""
    found = _MODAL.fullmatch(str(data.get("custom_id", "")))
    if found is None or found[1] not in set(Action):
        return None
    values = dict(_values(data.get("components")))
    resolved = data.get("resolved")
    files = resolved.get("attachments", {}) if isinstance(resolved, Mapping) else {}
    return Typed(
        action=Action(found[1]),
        job_id=found[2],
        index=int(found[3]),
        values=MappingProxyType(values),
        files=files,
    )


def cells_chosen(typed: Typed) -> frozenset[Cell]:
    """Return the cells that were tapped."""
    numbers = {int(value) for value in typed.chosen("cells") if re.fullmatch(r"\d{1,2}", value)}
    return frozenset(divmod(number, COLUMNS) for number in numbers if number < ROWS * COLUMNS)


def _values(part: object) -> Iterator[tuple[str, Any]]:
    """Yield every field's name and value, however deep it lies."""
    if isinstance(part, Mapping):
        name = part.get("custom_id")
        if isinstance(name, str):
            yield name, part.get("values", part.get("value"))
        yield from _values(part.get("component"))
        yield from _values(part.get("components"))
    elif isinstance(part, list):
        for each in part:
            yield from _values(each)


def _text(name: str, value: str = "", *, long: bool = False, required: bool = False) -> "Item[Any]":
    style = discord.TextStyle.paragraph if long else discord.TextStyle.short
    typed: discord.ui.TextInput[Any] = discord.ui.TextInput(
        style=style,
        custom_id=name,
        default=value[:_LONGEST] or None,
        required=required,
        max_length=_LONGEST if long else _LENGTHS.get(name, 100),
    )
    return _labelled(name, typed)


def _cells() -> "Item[Any]":
    options = [
        discord.SelectOption(
            label=tr(CELL, row=row + 1, column=column + 1), value=str(row * COLUMNS + column)
        )
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    menu: discord.ui.Select[Any] = discord.ui.Select(
        custom_id="cells",
        options=options,
        min_values=0,
        max_values=len(options),
        required=False,
    )
    return _labelled("cells", menu)


def _mask() -> "Item[Any]":
    upload: discord.ui.FileUpload[Any] = discord.ui.FileUpload(
        custom_id="mask", required=False, min_values=0, max_values=1
    )
    return _labelled("mask", upload)


def _labelled(name: str, item: "Item[Any]") -> "Item[Any]":
    hint = tr(HINTS[name]) if name in HINTS else None
    label: discord.ui.Label[Any] = discord.ui.Label(
        text=tr(FIELDS[name]), description=hint, component=item
    )
    return label
