"""What people read about jobs: the progress line, the result, the info card, the lists.

The same message goes `prompt` - @user (waiting, position 3, ~20 s), then (31 %, step 9/28, ~6 s),
then the result. Prompts stand in inline code, which no markup leaves. Each text fits a message.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
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
from bot.language import mark, tr
from bot.prompt.samplers import sampler_label, schedule_label
from diffusion import Params, TokenCount

_FIELD_LIMIT: Final = 1024
_CHOICE_LIMIT: Final = 100
_MINUTE: Final = 60
_HOUR: Final = 3600


_STATES: Final = MappingProxyType(
    {
        "queued": mark("queued"),
        "running": mark("running"),
        "rendered": mark("rendered"),
        "posting": mark("posting"),
        "failed": mark("failed"),
        "cancelled": mark("cancelled"),
        "deleted": mark("deleted"),
    }
)


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
    tokens: TokenCount | None = None


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
        return tr("~{count} s", count=max(1, round(duration)))
    if duration < _HOUR - _MINUTE / 2:
        return tr("~{count} min", count=round(duration / _MINUTE))
    return tr("~{count} h", count=round(duration / _HOUR))


def _headed(prompt: str, requester_id: int, state: str) -> str:
    return f"{code(prompt)} - <@{requester_id}> ({state})"


def waiting(prompt: str, requester_id: int, *, position: int, eta: float | None = None) -> str:
    """Show a job that waits."""
    place = tr("waiting, position {position}", position=position)
    return _headed(prompt, requester_id, ", ".join([place, *_eta(eta)]))


def running(
    prompt: str, requester_id: int, *, step: int, total: int, eta: float | None = None
) -> str:
    """Show a job that is being painted; step 0 is before the first one."""
    percent = 100 * min(step, total) // max(1, total)
    far = tr("{percent} %, step {step}/{total}", percent=percent, step=step, total=total)
    return _headed(prompt, requester_id, ", ".join([far, *_eta(eta)]))


def _eta(eta: float | None) -> list[str]:
    return [] if eta is None else [seconds(eta)]


def posting(prompt: str, requester_id: int) -> str:
    """Show a job whose pictures are being sent."""
    return _headed(prompt, requester_id, tr("100 %, sending"))


def ended(prompt: str, requester_id: int, sentence: str) -> str:
    """Show a job that ended without pictures, with the sentence that says why."""
    return f"{code(prompt)} - <@{requester_id}>\n{sentence}"


def done(requester_id: int, link: str | None = None) -> str:
    """Tell a requester that the pictures are there."""
    who = f"<@{requester_id}>"
    if link is None:
        return tr("{who} your pictures are ready.", who=who)
    return tr("{who} your pictures are ready: {link}", who=who, link=link)


def group_done(requester_id: int, links: Sequence[str]) -> str:
    """Tell a requester that everything of one prompt is there."""
    who = f"<@{requester_id}>"
    head = tr("{who} all pictures of this prompt are ready:", who=who)
    return _fitting(head, links)


def alt_text(prompt: str, *, index: int | None = None) -> str:
    """Describe a picture for people who do not see it: the prompt, cut to Discord's limit."""
    words = plain(prompt, 4000)
    if index is None:
        text = tr("Grid of pictures made by a machine from the words: {words}", words=words)
    else:
        text = tr(
            "Picture {index} made by a machine from the words: {words}", index=index, words=words
        )
    return cut_utf16(text, ALT_LIMIT)


def info_card(card: Card) -> tuple[Field, ...]:
    """Return every parameter of a job as fields of an embed."""
    params = card.params
    fields = [
        Field(name=tr("Prompt"), value=_prompt_value(params.prompt), inline=False),
        Field(name=tr("Without"), value=_prompt_value(params.negative_prompt), inline=False),
        Field(name=tr("Tokens"), value=_tokens_value(card.tokens)),
        Field(name=tr("Seed"), value=str(params.seed)),
        Field(name=tr("Steps"), value=_steps_value(params)),
        Field(name=tr("Guidance"), value=f"{params.guidance_scale:.12g}"),
        Field(name=tr("Sampler"), value=sampler_label(params.sampler)),
        Field(name=tr("Schedule"), value=schedule_label(params.schedule)),
        Field(name=tr("Size"), value=f"{params.width} × {params.height}"),
        Field(name=tr("Pictures"), value=str(params.images)),
        Field(name=tr("Tile"), value=tr("yes") if params.tile else tr("no")),
        Field(name=tr("Model"), value=_model_value(card)),
        Field(name=tr("Job"), value=code(card.job_id)),
        Field(name=tr("Requester"), value=f"<@{card.requester_id}>"),
        Field(name=tr("Asked"), value=_moment(card.created_at, "f")),
        Field(name=tr("Device time"), value=_taken(card.device_seconds)),
        Field(name=tr("Made from"), value=_parent_value(card)),
        Field(name=tr("To copy"), value=_prompt_value(card.command), inline=False),
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
    if params.stop == 100:
        return str(params.steps)
    return tr("{steps}, stopped at {stop} %", steps=params.steps, stop=params.stop)


def _tokens_value(tokens: TokenCount | None) -> str:
    if tokens is None:
        return ""
    if tokens.windows == 1:
        return str(tokens.tokens)
    return tr(
        "{tokens} in {windows} chunks; not in the first: {words}",
        tokens=tokens.tokens,
        windows=tokens.windows,
        words=code(tokens.later, 600),
    )


def _model_value(card: Card) -> str:
    name = f"{code(card.params.model, 40)} {escape(card.model_name, 80)}".rstrip()
    return name if card.model_sha256 is None else f"{name} ({card.model_sha256[:10]})"


def _parent_value(card: Card) -> str:
    if card.parent_id is None:
        return ""
    parent = code(card.parent_id, 40)
    if card.parent_index is None:
        return parent
    return tr("{job}, picture {index}", job=parent, index=card.parent_index)


def _taken(duration: float | None) -> str:
    return "" if duration is None else tr("{seconds:.1f} s", seconds=duration)


def _moment(when: datetime, style: str) -> str:
    """Write a moment so that Discord shows it in the reader's own time zone."""
    return f"<t:{int(when.timestamp())}:{style}>"


def history_line(line: HistoryLine) -> str:
    """Show one job of a list."""
    state = "" if line.state == "posted" else f" · {tr(_STATES.get(line.state, line.state))}"
    link = "" if line.link is None else f" · {line.link}"
    prompt = code(line.prompt, 80)
    return f"{code(line.job_id, 40)} {_moment(line.created_at, 'R')}{state} · {prompt}{link}"


def history(lines: Sequence[HistoryLine], *, search: str | None = None) -> str:
    """List jobs, newest first, as many as fit into a message."""
    words = code(search, 80) if search else None
    if not lines and words is None:
        return tr("No pictures yet. /imagine makes some.")
    if not lines:
        return tr("No pictures with {words} yet. /imagine makes some.", words=words)
    if words is None:
        head = tr("Pictures, newest first; /show posts one again:")
    else:
        head = tr("Pictures with {words}, newest first; /show posts one again:", words=words)
    return _fitting(head, map(history_line, lines))


def queue_line(line: QueueLine) -> str:
    """Show one job that waits or runs."""
    if line.percent is not None:
        state = f"{line.percent} %"
    elif line.position is not None:
        state = tr("waiting, position {position}", position=line.position)
    else:
        state = tr("starting")
    state = ", ".join([state, *_eta(line.eta)])
    return f"{code(line.job_id, 40)} {state} · {code(line.prompt, 80)}"


def queue_overview(
    lines: Sequence[QueueLine], *, waiting: int, running: int, models: Sequence[str], device: str
) -> str:
    """Answer /info: my jobs, everybody's counts, the models and the device."""
    names = ", ".join(code(name, 40) for name in models)
    head = tr(
        "{running} running, {waiting} waiting · models {names} · {device}",
        running=running,
        waiting=waiting,
        names=names,
        device=escape(device, 80),
    )
    if not lines:
        nothing = tr("You have nothing waiting or running.")
        return cut_utf16(f"{head}\n{nothing}", MESSAGE_LIMIT)
    return _fitting(f"{cut_utf16(head, 1000)}\n{tr('Yours:')}", map(queue_line, lines))


def show_choice(line: HistoryLine) -> str:
    """Name a job in the list that /show offers while somebody types."""
    return cut_utf16(f"{line.created_at:%m-%d %H:%M} {plain(line.prompt, 100)}", _CHOICE_LIMIT)


def _fitting(head: str, lines: Iterable[str]) -> str:
    """Join lines under a head as long as the message holds, and count the others."""
    kept, rest = [head], 0
    room = MESSAGE_LIMIT - utf16_length(head) - utf16_length(_more(9999))
    for line in lines:
        room -= utf16_length(line) + 1
        if room < 0:
            rest += 1
        else:
            kept.append(line)
    return "\n".join(kept) + (_more(rest) if rest else "")


def _more(rest: int) -> str:
    return "\n" + tr("… and {count} more", count=rest)
