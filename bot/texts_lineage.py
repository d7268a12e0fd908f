"""What people read about where a picture comes from: the family tree, and what /verify found.

Promises what `bot.texts` promises, and that a job the reader may not see is a line without a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, code, utf16_length
from bot.language import mark, tr, trn

_BLANK: Final = "\u2003"
_DEEPEST: Final = 12

_KINDS: Final = MappingProxyType(
    {
        "imagine": mark("a grid"),
        "vary": mark("variations of picture {index}"),
        "reroll": mark("the same again"),
        "upscale": mark("picture {index} alone"),
        "enlarge": mark("picture {index} enlarged"),
        "zoom": mark("picture {index} zoomed out"),
        "pan": mark("picture {index} panned"),
        "square": mark("picture {index} made square"),
        "region": mark("a part of picture {index} painted anew"),
        "blend": mark("a blend"),
        "morph": mark("a morph"),
        "grid": mark("a sheet"),
        "continue": mark("the rest of the steps"),
    }
)
_STATES: Final = MappingProxyType(
    {
        "queued": mark("waiting"),
        "running": mark("being painted"),
        "rendered": mark("being sent"),
        "posting": mark("being sent"),
        "failed": mark("failed"),
        "cancelled": mark("cancelled"),
        "deleted": mark("deleted"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One line of the tree; without a job id it is one that the reader may not see.

    `guides` says for each level above whether more of it follows below this line.
    """

    guides: tuple[bool, ...]
    is_this: bool = False
    job_id: str | None = None
    kind: str | None = None
    index: int | None = None
    state: str = "posted"
    created_at: datetime | None = None
    prompt: str = ""
    link: str | None = None


def tree(leaves: Sequence[Leaf]) -> str:
    """Draw the tree, as much of it as a message holds; this picture's own line is always in it."""
    lines = [_line(leaf) for leaf in leaves]
    if len(lines) == 1:
        lines.append(tr("It was made from no other picture, and nothing was made from it."))
    here = next((place for place, leaf in enumerate(leaves) if leaf.is_this), 0)
    first = _first_shown(lines, here)
    head = [] if first == 0 else [_more(first)]
    room = MESSAGE_LIMIT - 60 - sum(utf16_length(line) + 1 for line in head)
    shown: list[str] = []
    for line in lines[first:]:
        room -= utf16_length(line) + 1
        if room < 0:
            break
        shown.append(line)
    rest = len(lines) - first - len(shown)
    return "\n".join([*head, *shown, *([] if rest == 0 else [_more(rest)])])


def _first_shown(lines: Sequence[str], here: int) -> int:
    """Return where to begin: what came after may have half of the message, if it needs that."""
    after = sum(utf16_length(line) + 1 for line in lines[here:])
    room, first = MESSAGE_LIMIT - 120 - min(after, MESSAGE_LIMIT // 2), here
    while first > 0 and room - utf16_length(lines[first - 1]) - 1 >= 0:
        first -= 1
        room -= utf16_length(lines[first]) + 1
    return first


def _more(count: int) -> str:
    return trn("… and one more", "… and {count} more", count)


def _line(leaf: Leaf) -> str:
    branch = _branch(leaf.guides)
    if leaf.job_id is None or leaf.kind is None or leaf.created_at is None:
        return f"{branch}{tr('a picture from elsewhere')}"
    what = tr(_KINDS.get(leaf.kind, _KINDS["imagine"]), index=leaf.index or 1)
    parts = [f"{code(leaf.job_id, 40)} {what} · <t:{int(leaf.created_at.timestamp())}:R>"]
    if leaf.state in _STATES:
        parts.append(tr(_STATES[leaf.state]))
    if leaf.is_this or not leaf.guides:
        parts.append(code(leaf.prompt, 60))
    if leaf.link is not None:
        parts.append(leaf.link)
    line = " · ".join(parts)
    return f"{branch}➤ {line}" if leaf.is_this else f"{branch}{line}"


def _branch(guides: Sequence[bool]) -> str:
    """Draw what stands before a line; a very deep one is drawn less deep."""
    if not guides:
        return ""
    *above, more = guides[-_DEEPEST:]
    stems = "".join(f"│{_BLANK}" if follows else _BLANK * 2 for follows in above)
    return f"{stems}{'├' if more else '└'} "
