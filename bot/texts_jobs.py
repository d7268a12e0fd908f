"""What people read about jobs: the progress line, the result, the info card, the lists.

The same message goes `prompt` - @user (waiting, position 3, ~20 s), then (31 %, step 9/28, ~6 s),
then the result. Prompts stand in inline code, which no markup leaves. Each text fits a message.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from bot.escape import (
    ALT_LIMIT,
    MESSAGE_LIMIT,
    code,
    cut_utf16,
    escape,
    one_line,
    plain,
    utf16_length,
)
from bot.prompt.samplers import sampler_label, schedule_label
from diffusion import Params

_FIELD_LIMIT: Final = 1024
_CHOICE_LIMIT: Final = 100
_MADE: Final = "AI-generated"
_MINUTE: Final = 60
_HOUR: Final = 3600


class Result(StrEnum):
    """What a posted message holds."""

    GRID = "grid"
    VARIATIONS = "variations"
    REROLL = "reroll"
    TILE = "tile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an info card."""

    name: str
    value: str
    inline: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What Info shows about a job."""

    job_id: str
    params: Params
    requester_id: int
    model_name: str
    created_at: datetime
    command: str
    model_sha256: str | None = None
    device_seconds: float | None = None
    parent_id: str | None = None
    parent_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """What a list shows about a job."""

    job_id: str
    prompt: str
    state: str
    created_at: datetime
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """What /info shows about a job that waits or runs."""

    job_id: str
    prompt: str
    position: int | None = None
    percent: int | None = None
    eta: float | None = None


def seconds(duration: float) -> str:
    """Write an estimate: `~6 s`, `~2 min`, `~1 h`."""
    if duration < _MINUTE:
        return f"~{max(1, round(duration))} s"
    if duration < _HOUR - _MINUTE / 2:
        return f"~{round(duration / _MINUTE)} min"
    return f"~{round(duration / _HOUR)} h"


def _headed(prompt: str, requester_id: int, state: str) -> str:
    return f"{code(prompt)} - <@{requester_id}> ({state})"


def waiting(prompt: str, requester_id: int, *, position: int, eta: float | None = None) -> str:
    """Show a job that waits."""
    parts = ["waiting", f"position {position}"] + ([] if eta is None else [seconds(eta)])
    return _headed(prompt, requester_id, ", ".join(parts))


def running(
    prompt: str, requester_id: int, *, step: int, total: int, eta: float | None = None
) -> str:
    """Show a job that is being painted; step 0 is before the first one."""
    percent = 100 * min(step, total) // max(1, total)
    parts = [f"{percent} %", f"step {step}/{total}"] + ([] if eta is None else [seconds(eta)])
    return _headed(prompt, requester_id, ", ".join(parts))


def posting(prompt: str, requester_id: int) -> str:
    """Show a job whose pictures are being sent."""
    return _headed(prompt, requester_id, "100 %, sending")


def ended(prompt: str, requester_id: int, sentence: str) -> str:
    """Show a job that ended without pictures, with the sentence that says why."""
    return f"{code(prompt)} - <@{requester_id}>\n{sentence}"


def final(
    prompt: str, requester_id: int, *, result: Result = Result.GRID, index: int | None = None
) -> str:
    """Head the message that carries the pictures."""
    what = {
        Result.GRID: "",
        Result.VARIATIONS: f"Variations of picture {index} for ",
        Result.REROLL: "Again for ",
        Result.TILE: f"Picture {index} for ",
    }[result]
    return f"{code(prompt)} - {what}<@{requester_id}> · {_MADE}"


def done(requester_id: int, link: str | None = None) -> str:
    """Tell a requester that the pictures are there."""
    return f"<@{requester_id}> your pictures are ready" + (f": {link}" if link else ".")


def alt_text(prompt: str, *, index: int | None = None) -> str:
    """Describe a picture for people who do not see it: the prompt, cut to Discord's limit."""
    head = "Grid of pictures" if index is None else f"Picture {index}"
    return cut_utf16(f"{head} made by a machine from the words: {plain(prompt, 4000)}", ALT_LIMIT)


def info_card(card: Card) -> tuple[Field, ...]:
    """Return every parameter of a job as fields of an embed."""
    params = card.params
    fields = [
        Field(name="Prompt", value=_prompt_value(params.prompt), inline=False),
        Field(name="Without", value=_prompt_value(params.negative_prompt), inline=False),
        Field(name="Seed", value=str(params.seed)),
        Field(name="Steps", value=_steps_value(params)),
        Field(name="Guidance", value=f"{params.guidance_scale:.12g}"),
        Field(name="Sampler", value=sampler_label(params.sampler)),
        Field(name="Schedule", value=schedule_label(params.schedule)),
        Field(name="Size", value=f"{params.width} × {params.height}"),
        Field(name="Pictures", value=str(params.images)),
        Field(name="Tile", value="yes" if params.tile else "no"),
        Field(name="Model", value=_model_value(card)),
        Field(name="Job", value=code(card.job_id)),
        Field(name="Requester", value=f"<@{card.requester_id}>"),
        Field(name="Asked", value=_moment(card.created_at, "f")),
        Field(name="Device time", value=_taken(card.device_seconds)),
        Field(name="Made from", value=_parent_value(card)),
        Field(name="To copy", value=_prompt_value(card.command), inline=False),
    ]
    return tuple(field for field in fields if field.value)


def _prompt_value(text: str) -> str:
    """Put a long text into a field; code needs one sign at each end."""
    if not text.strip():
        return ""
    limit = _FIELD_LIMIT - 2
    cut = cut_utf16(one_line(text, limit), limit)
    return code(cut, limit)


def _steps_value(params: Params) -> str:
    stopped = "" if params.stop == 100 else f", stopped at {params.stop} %"
    return f"{params.steps}{stopped}"


def _model_value(card: Card) -> str:
    name = f"{code(card.params.model, 40)} {escape(card.model_name, 80)}".rstrip()
    return name if card.model_sha256 is None else f"{name} ({card.model_sha256[:10]})"


def _parent_value(card: Card) -> str:
    if card.parent_id is None:
        return ""
    picture = "" if card.parent_index is None else f", picture {card.parent_index}"
    return f"{code(card.parent_id, 40)}{picture}"


def _taken(duration: float | None) -> str:
    return "" if duration is None else f"{duration:.1f} s"


def _moment(when: datetime, style: str) -> str:
    """Write a moment so that Discord shows it in the reader's own time zone."""
    return f"<t:{int(when.timestamp())}:{style}>"


def history_line(line: HistoryLine) -> str:
    """Show one job of a list."""
    state = "" if line.state == "posted" else f" · {line.state}"
    link = "" if line.link is None else f" · {line.link}"
    prompt = code(line.prompt, 80)
    return f"{code(line.job_id, 40)} {_moment(line.created_at, 'R')}{state} · {prompt}{link}"


def history(lines: Sequence[HistoryLine], *, search: str | None = None) -> str:
    """List jobs, newest first, as many as fit into a message."""
    found = "" if not search else f" with {code(search, 80)}"
    if not lines:
        return f"No pictures{found} yet. /imagine makes some."
    return _fitting(
        f"Pictures{found}, newest first; /show posts one again:", map(history_line, lines)
    )


def queue_line(line: QueueLine) -> str:
    """Show one job that waits or runs."""
    state = "starting" if line.position is None else f"waiting, position {line.position}"
    if line.percent is not None:
        state = f"{line.percent} %"
    eta = "" if line.eta is None else f", {seconds(line.eta)}"
    return f"{code(line.job_id, 40)} {state}{eta} · {code(line.prompt, 80)}"


def queue_overview(
    lines: Sequence[QueueLine], *, waiting: int, running: int, models: Sequence[str], device: str
) -> str:
    """Answer /info: my jobs, everybody's counts, the models and the device."""
    names = ", ".join(code(name, 40) for name in models)
    head = f"{running} running, {waiting} waiting · models {names} · {escape(device, 80)}"
    if not lines:
        return cut_utf16(f"{head}\nYou have nothing waiting or running.", MESSAGE_LIMIT)
    return _fitting(f"{cut_utf16(head, 1000)}\nYours:", map(queue_line, lines))


def show_choice(line: HistoryLine) -> str:
    """Name a job in the list that /show offers while somebody types."""
    return cut_utf16(f"{line.created_at:%m-%d %H:%M} {plain(line.prompt, 100)}", _CHOICE_LIMIT)


def _fitting(head: str, lines: Iterable[str]) -> str:
    """Join lines under a head as long as the message holds, and count the others."""
    kept, rest = [head], 0
    room = MESSAGE_LIMIT - utf16_length(head) - len("\n… and 9999 more")
    for line in lines:
        room -= utf16_length(line) + 1
        if room < 0:
            rest += 1
        else:
            kept.append(line)
    return "\n".join(kept) + (f"\n… and {rest} more" if rest else "")
