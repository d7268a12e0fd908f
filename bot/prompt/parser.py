"""The parser: words first, then flags; every other thing is an error that shows its place.

`parse` promises a `ParsedPrompt` or a `PromptError` for any string, and that the suggestion in an
error parses. It never guesses: what was meant is offered, not done.
"""

import re
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final

from bot.language import tr
from bot.prompt import faults, values
from bot.prompt.errors import Flaw, PromptError
from bot.prompt.flags import FLAG_BY_NAME, RAW, SHARES, Kind
from bot.prompt.mend import splice
from bot.prompt.named import read_named_sampler, read_named_schedule
from bot.prompt.parsed import Aspect, ParsedPrompt, Span
from bot.prompt.samplers import SamplerName, schedule_label
from bot.prompt.scan import Mark, find_marks, tidy
from bot.prompt.values import Piece, Site

_MENDING_ROUNDS: Final = 8
_JOINERS: Final = "\u200c\u200d\ufe0e\ufe0f "
# People copy `/imagine prompt: a heart` whole, or type the option's name where Discord shows it.
_OPTION_NAME: Final = re.compile(
    r"\s*(?:/imagine\s+(?:prompt\s*[:：])?|prompt\s*[:：])\s*", re.IGNORECASE
)


@dataclass(slots=True)
class _Found:
    """The flags read so far, by main name."""

    ratio: Aspect | None = None
    negative: str | None = None
    wholes: dict[str, int] = field(default_factory=dict)
    decimals: dict[str, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    toggles: set[str] = field(default_factory=set)
    sampler: SamplerName | None = None
    schedule: str | None = None
    spans: dict[str, Span] = field(default_factory=dict)


def parse(text: str) -> ParsedPrompt:
    """Read a prompt; raise PromptError with the place, the reason and a mended prompt."""
    text = cleaned(text)
    try:
        return _read(text)
    except Flaw as flaw:
        raise PromptError(
            flaw.message,
            text=text,
            start=flaw.start,
            end=flaw.end,
            mend=partial(_mend, flaw),
        ) from None


def cleaned(text: str) -> str:
    """Return a prompt as it is read: on one line, without what cannot be seen or is no part."""
    text = tidy(text)
    name = _OPTION_NAME.match(text)
    return text if name is None else text[name.end() :]


def _mend(flaw: Flaw) -> str | None:
    """Mend one fault after the other until the text parses; None when that does not end."""
    for _ in range(_MENDING_ROUNDS):
        if flaw.mended is None:
            return None
        mended = cleaned(flaw.mended)
        try:
            _read(mended)
        except Flaw as next_flaw:
            flaw = next_flaw
        else:
            return mended
    return None


def _read(text: str) -> ParsedPrompt:
    marks = find_marks(text)
    first = next(marks, None)
    stop = len(text) if first is None else first.start
    faults.check_words(text, stop)
    found = _Found()
    for mark in () if first is None else chain((first,), marks):
        _read_flag(text, mark, found)
    words = " ".join(text[:stop].split())
    if not words.strip(_JOINERS):
        raise faults.no_words(text, stop, has_flags=first is not None)
    _check_together(text, found)
    return _parsed(text, words, stop, found)


def _parsed(text: str, words: str, stop: int, found: _Found) -> ParsedPrompt:
    sampler, schedule = _sampler_and_schedule(text, found)
    wholes, decimals, named = found.wholes, found.decimals, found.words
    style = named.get("style")
    return ParsedPrompt(
        text=text,
        prompt=words,
        words=stop,
        negative_prompt=found.negative,
        aspect=found.ratio,
        seed=wholes.get("seed"),
        sameseed="sameseed" in found.toggles,
        chaos=wholes.get("chaos"),
        stylize=wholes.get("stylize"),
        raw=RAW in found.toggles or style == RAW,
        preset=named.get("preset") or (None if style == RAW else style),
        quality=decimals.get("quality"),
        stop=wholes.get("stop"),
        iw=decimals.get("iw"),
        strength=decimals.get("strength"),
        sref=named.get("sref"),
        sw=wholes.get("sw"),
        cref=named.get("cref"),
        cw=wholes.get("cw"),
        tile="tile" in found.toggles,
        repeat=wholes.get("repeat"),
        model=named.get("model") or named.get("niji"),
        hires=decimals.get("hires"),
        share=next((name for name in SHARES if name in found.toggles), None),
        video="video" in found.toggles,
        weird=wholes.get("weird"),
        sampler=sampler,
        schedule=schedule,
        steps=wholes.get("steps"),
        guidance_scale=decimals.get("cfg"),
        clip=wholes.get("clip"),
        vae=named.get("vae"),
        spans=found.spans,
    )


def _read_flag(text: str, mark: Mark, found: _Found) -> None:
    if mark.name not in FLAG_BY_NAME:
        raise faults.not_a_flag(text, mark)
    flag = FLAG_BY_NAME[mark.name]
    after = mark.after + (text[mark.after : mark.after + 1] == "=")
    site = Site(
        text=text,
        flag=flag,
        label=f"--{mark.name}",
        start=mark.start,
        after=after,
        stop=mark.stop,
    )
    if after == mark.after and after < mark.stop and not text[after].isspace():
        raise faults.glued(site)
    if flag.name in found.spans:
        raise faults.twice(site, found.spans[flag.name])
    rival = next((name for name in found.spans if _excludes(name, flag.name)), None)
    if rival is not None:
        raise faults.rivals(site, rival)
    piece = _read_value(site, found)
    found.spans[flag.name] = Span(flag=mark.start, start=piece.start, end=piece.end)
    if text[piece.end : mark.stop].strip():
        raise faults.after_flags(site, piece)


def _excludes(one: str, other: str) -> bool:
    group = FLAG_BY_NAME[one].group
    return group != "" and group == FLAG_BY_NAME[other].group


def _read_value(site: Site, found: _Found) -> Piece:
    """Read the flag's value into `found`; return its place."""
    name = site.flag.name
    match site.flag.kind:
        case Kind.TOGGLE:
            found.toggles.add(name)
            return Piece(text="", start=site.start, end=site.after)
        case Kind.TEXT:
            return _read_text(site, found)
        case Kind.SAMPLER:
            piece, found.sampler = read_named_sampler(site)
            return piece
        case Kind.SCHEDULE:
            piece, found.schedule = read_named_schedule(site)
            return piece
        case Kind.OPTIONAL:
            if not values.body(site).text:
                found.words[name] = name
                return Piece(text="", start=site.start, end=site.after)
    piece = values.first_value(site)
    match site.flag.kind:
        case Kind.RATIO:
            found.ratio = values.read_aspect(site, piece)
        case Kind.WHOLE:
            found.wholes[name] = values.read_whole(site, piece)
        case Kind.DECIMAL:
            found.decimals[name] = values.read_decimal(site, piece)
        case Kind.QUALITY:
            found.decimals[name] = values.read_quality(site, piece)
        case Kind.OPTIONAL:
            found.words[name] = f"{name}-{values.read_word(site, piece)}"
        case _:
            found.words[name] = values.read_word(site, piece)
    return piece


def _read_text(site: Site, found: _Found) -> Piece:
    piece = values.body(site)
    parts = (" ".join(part.split()) for part in piece.text.split(","))
    listed = ", ".join(part for part in parts if part)
    if not listed:
        raise site.missing()
    found.negative = listed
    return piece


def _check_together(text: str, found: _Found) -> None:
    """Refuse `--style` and `--preset` with two different names."""
    style, preset = found.words.get("style"), found.words.get("preset")
    if style is None or preset is None or style in {RAW, preset}:
        return
    span = found.spans["style"]
    raise Flaw(
        tr(
            "--preset {preset} and --style {style} are two style templates; one is enough.",
            preset=preset,
            style=style,
        ),
        start=span.start,
        end=span.end,
        mended=splice(text, span.flag, span.end, ""),
    )


def _sampler_and_schedule(text: str, found: _Found) -> tuple[str | None, str | None]:
    """Join `--sampler "DPM++ 2M Karras"` with `--schedule`; two different schedules are a fault."""
    if found.sampler is None:
        return None, found.schedule
    named = found.sampler.schedule
    if named and found.schedule and named != found.schedule:
        span = found.spans["schedule"]
        raise Flaw(
            tr(
                "--sampler already names the schedule {named}; --schedule {given} contradicts it.",
                named=schedule_label(named),
                given=found.schedule,
            ),
            start=span.start,
            end=span.end,
            mended=splice(text, span.flag, span.end, ""),
        )
    return found.sampler.sampler, found.schedule or named
