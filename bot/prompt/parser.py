"""The parser: words first, then flags; every other thing is an error that shows its place.

`parse` promises a `ParsedPrompt` or a `PromptError` for any string, and that the suggestion in an
error parses. It never guesses: what was meant is offered, not done.
"""

import re
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final

import diffusion
from bot.prompt import values
from bot.prompt.errors import Flaw, PromptError
from bot.prompt.flags import FLAG_BY_NAME, LATER_BY_NAME, Kind, Later
from bot.prompt.mend import clip, nearest, splice
from bot.prompt.parsed import Aspect, ParsedPrompt, Span
from bot.prompt.samplers import (
    SamplerName,
    read_sampler,
    read_schedule,
    sampler_choices,
    sampler_label,
    schedule_choices,
    schedule_label,
)
from bot.prompt.scan import LINK, Mark, find_marks, find_nearly, tidy
from bot.prompt.values import Piece, Site

_MENDING_ROUNDS: Final = 8
_JOINERS: Final = "\u200c\u200d\ufe0e\ufe0f "
_KNOWN: Final = frozenset(FLAG_BY_NAME) | frozenset(LATER_BY_NAME)
_GLUED_VALUE: Final = re.compile(r"([a-z]+)-?([\d.:,/=].*)")
_YES: Final = frozenset({"yes", "true", "on", "1"})
_NO: Final = frozenset({"no", "false", "off", "0"})
_ONLY_SIGNS: Final = re.compile(r"[,;.:!|\s]+")


@dataclass(slots=True)
class _Found:
    """The flags read so far, by main name."""

    ratio: Aspect | None = None
    negative: str | None = None
    wholes: dict[str, int] = field(default_factory=dict)
    decimals: dict[str, float] = field(default_factory=dict)
    sampler: SamplerName | None = None
    schedule: str | None = None
    model: str | None = None
    tile: bool = False
    spans: dict[str, Span] = field(default_factory=dict)


def parse(text: str) -> ParsedPrompt:
    """Read a prompt; raise PromptError with the place, the reason and a mended prompt."""
    text = tidy(text)
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


def _mend(flaw: Flaw) -> str | None:
    """Mend one fault after the other until the text parses; None when that does not end."""
    for _ in range(_MENDING_ROUNDS):
        if flaw.mended is None:
            return None
        try:
            _read(flaw.mended)
        except Flaw as next_flaw:
            flaw = next_flaw
        else:
            return flaw.mended
    return None


def _read(text: str) -> ParsedPrompt:
    marks = find_marks(text)
    first = next(marks, None)
    stop = len(text) if first is None else first.start
    _check_words(text, stop)
    found = _Found()
    for mark in () if first is None else chain((first,), marks):
        _read_flag(text, mark, found)
    words = " ".join(text[:stop].split())
    if not words.strip(_JOINERS):
        raise _no_words(text, stop, has_flags=first is not None)
    sampler, schedule = _sampler_and_schedule(text, found)
    return ParsedPrompt(
        text=text,
        prompt=words,
        negative_prompt=found.negative,
        aspect=found.ratio,
        seed=found.wholes.get("seed"),
        steps=found.wholes.get("steps"),
        guidance_scale=found.decimals.get("cfg"),
        sampler=sampler,
        schedule=schedule,
        quality=found.decimals.get("quality"),
        stop=found.wholes.get("stop"),
        tile=found.tile,
        repeat=found.wholes.get("repeat"),
        model=found.model,
        spans=found.spans,
    )


def _no_words(text: str, stop: int, *, has_flags: bool) -> Flaw:
    message = "The prompt is empty: say what the picture should show."
    if has_flags:
        message = "There are only flags here: say first what the picture should show."
    return Flaw(message, start=0, end=min(stop + 1, len(text)))


def _check_words(text: str, stop: int) -> None:
    _check_links(text)
    nearly = find_nearly(text, stop, _KNOWN)
    if nearly is None:
        return
    name = nearly["name"]
    raise Flaw(
        f"Is this meant as the flag --{name.lower()}? A flag has a space before it, two dashes, "
        "and none between them and its name.",
        start=nearly.start("dash"),
        end=nearly.end("name"),
        mended=splice(text, nearly.start(), nearly.end("name"), f"--{name.lower()}"),
    )


def _check_links(text: str) -> None:
    link = LINK.search(text)
    if link is not None:
        raise Flaw(
            "Links are never opened here, so a picture behind one cannot be used: "
            "describe it in words instead.",
            start=link.start(),
            end=link.end(),
            mended=splice(text, link.start(), link.end(), ""),
        )


def _read_flag(text: str, mark: Mark, found: _Found) -> None:
    if mark.name not in FLAG_BY_NAME:
        raise _not_a_flag(text, mark)
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
        raise _glued(site)
    if flag.name in found.spans:
        raise _twice(site, found)
    piece = _read_value(site, found)
    found.spans[flag.name] = Span(flag=mark.start, start=piece.start, end=piece.end)
    if text[piece.end : mark.stop].strip():
        raise _after_flags(site, piece)


def _read_value(site: Site, found: _Found) -> Piece:
    """Read the flag's value into `found`; return its place."""
    if site.flag.kind is Kind.TOGGLE:
        found.tile = True
        return Piece(text="", start=site.start, end=site.after)
    if site.flag.kind is Kind.TEXT:
        return _read_text(site, found)
    if site.flag.kind in {Kind.SAMPLER, Kind.SCHEDULE}:
        return _read_named(site, found)
    piece = values.first_value(site)
    match site.flag.kind:
        case Kind.RATIO:
            found.ratio = values.read_aspect(site, piece)
        case Kind.WHOLE:
            found.wholes[site.flag.name] = values.read_whole(site, piece)
        case Kind.DECIMAL:
            found.decimals[site.flag.name] = values.read_decimal(site, piece)
        case Kind.QUALITY:
            found.decimals[site.flag.name] = values.read_quality(site, piece)
        case _:
            found.model = values.read_word(site, piece)
    return piece


def _read_text(site: Site, found: _Found) -> Piece:
    piece = values.body(site)
    parts = (" ".join(part.split()) for part in piece.text.split(","))
    listed = ", ".join(part for part in parts if part)
    if not listed:
        raise site.missing()
    found.negative = listed
    return piece


def _read_named(site: Site, found: _Found) -> Piece:
    """Read a sampler or schedule, whose name may be several words with or without quotes."""
    first = values.first_value(site)
    pieces = [first] if values.is_quoted(first) else _longest_first(site)
    for piece in pieces:
        if site.flag.kind is Kind.SAMPLER:
            sampler = read_sampler(piece.text)
            if sampler is not None:
                found.sampler = _available(site, piece, sampler)
                return piece
        else:
            schedule = read_schedule(piece.text)
            if schedule is not None:
                _check_schedule(site, piece, schedule)
                found.schedule = schedule
                return piece
    raise _unknown_name(site, pieces[0])


def _longest_first(site: Site) -> list[Piece]:
    """List the body's first five words, its first four, … as candidates for a name."""
    whole = values.body(site)
    words = list(re.finditer(r"\S+", whole.text[:120]))[:5]
    ends = [word.end() for word in reversed(words)]
    return [Piece(text=whole.text[:end], start=whole.start, end=whole.start + end) for end in ends]


def _available(site: Site, piece: Piece, name: SamplerName) -> SamplerName:
    if name.schedule is not None:
        _check_schedule(site, piece, name.schedule)
    if name.sampler in diffusion.SAMPLERS:
        return name
    near = nearest(name.sampler, diffusion.SAMPLERS)
    message = (
        f"This version does not have the sampler {sampler_label(name.sampler)} yet; it has "
        f"{', '.join(sampler_choices())}."
    )
    raise site.refuse(piece, message, sampler_label(near) if near else None)


def _check_schedule(site: Site, piece: Piece, schedule: str) -> None:
    if schedule in diffusion.SCHEDULES:
        return
    meant = None
    if site.flag.kind is Kind.SAMPLER:
        plain = read_sampler(piece.text)
        meant = sampler_label(plain.sampler) if plain else None
    message = (
        f"This version does not have the schedule {schedule_label(schedule)} yet; it has "
        f"{', '.join(schedule_choices())}."
    )
    raise site.refuse(piece, message, meant)


def _unknown_name(site: Site, piece: Piece) -> Flaw:
    if site.flag.kind is Kind.SAMPLER:
        known, what = sampler_choices(), "sampler"
    else:
        known, what = schedule_choices(), "schedule"
    by_fold = {name.casefold(): name for name in known}
    near = nearest(piece.text.casefold(), by_fold)
    meant = by_fold[near] if near else None
    message = f"There is no {what} “{clip(piece.text)}”; this version has {', '.join(known)}."
    return site.refuse(piece, message, meant)


def _sampler_and_schedule(text: str, found: _Found) -> tuple[str | None, str | None]:
    """Join `--sampler "DPM++ 2M Karras"` with `--schedule`; two different schedules are a fault."""
    if found.sampler is None:
        return None, found.schedule
    named = found.sampler.schedule
    if named and found.schedule and named != found.schedule:
        span = found.spans["schedule"]
        raise Flaw(
            f"--sampler already names the schedule {schedule_label(named)}; "
            f"--schedule {found.schedule} contradicts it.",
            start=span.start,
            end=span.end,
            mended=splice(text, span.flag, span.end, ""),
        )
    return found.sampler.sampler, found.schedule or named


def _twice(site: Site, found: _Found) -> Flaw:
    """Refuse a flag given twice; mended, the later one holds, and two lists become one."""
    piece, first = values.body(site), found.spans[site.flag.name]
    if site.flag.kind is Kind.TEXT and piece.text:
        text = splice(site.text, site.start, piece.end, "")
        mended = f"{text[: first.end]}, {piece.text}{text[first.end :]}"
    else:
        mended = splice(site.text, first.flag, first.end, "")
    return Flaw(
        f"--{site.flag.name} stands here for the second time; once is enough.",
        start=site.start,
        end=site.after,
        mended=mended,
    )


def _after_flags(site: Site, piece: Piece) -> Flaw:
    rest = site.text[piece.end : site.stop]
    start = piece.end + len(rest) - len(rest.lstrip())
    end = piece.end + len(rest.rstrip())
    stray = site.text[start:end]
    without = splice(site.text, start, end, "")
    if _ONLY_SIGNS.fullmatch(stray):
        message = f"Flags stand behind each other with spaces alone; “{clip(stray)}” is too much."
        return Flaw(message, start=start, end=end, mended=without)
    if site.flag.kind is Kind.TOGGLE and stray.casefold() in _YES | _NO:
        whole = splice(site.text, site.start, end, "")
        message = f"{site.label} takes no value: it is on where it stands, and off where not."
        mended = without if stray.casefold() in _YES else whole
        return Flaw(message, start=start, end=end, mended=mended)
    first = next(find_marks(site.text)).start
    return Flaw(
        f"These words stand behind {site.label}. Words come first, flags last.",
        start=start,
        end=end,
        mended=splice(without, first, first, stray),
    )


def _glued(site: Site) -> Flaw:
    tail = site.text[site.after : site.stop].split(maxsplit=1)[0]
    end = site.after + len(tail)
    mended = splice(site.text, site.after, end, tail.lstrip(",;.:!|"))
    return Flaw(
        f"A space is missing behind {site.label}.",
        start=site.start,
        end=end,
        mended=mended,
    )


def _not_a_flag(text: str, mark: Mark) -> Flaw:
    later = LATER_BY_NAME.get(mark.name)
    if later is not None:
        return _not_yet(text, mark, later)
    near = nearest(mark.name, _KNOWN)
    glued = _GLUED_VALUE.fullmatch(mark.name + _tail(text, mark))
    if glued and glued[1] in _KNOWN:
        near, message = glued[1], f"A space is missing behind --{glued[1]}."
        fixed = f"--{near} {glued[2].lstrip('=')}"
        end = mark.after + len(_tail(text, mark))
        mended = splice(text, mark.start, end, fixed)
        return Flaw(message, start=mark.start, end=end, mended=mended)
    message = f"There is no flag --{clip(mark.typed)}."
    if near is not None:
        message += f" The nearest is --{near}."
        mended = splice(text, mark.start, mark.after, f"--{near}")
    else:
        mended = _without_flag(text, mark)
    return Flaw(message, start=mark.start, end=mark.after, mended=mended)


def _tail(text: str, mark: Mark) -> str:
    """Return what is glued to a flag's name, up to the next space."""
    if mark.after >= mark.stop or text[mark.after].isspace():
        return ""
    return text[mark.after : mark.stop].split(maxsplit=1)[0]


def _without_flag(text: str, mark: Mark) -> str:
    """Mend an unknown flag: prose gets its dash back, a flag with a number goes."""
    if mark.long_dash:
        return splice(text, mark.start, mark.after, f"— {mark.typed}")
    rest = text[mark.after : mark.stop].split()
    if len(rest) <= 1 and all(word[:1].isdecimal() or word[:1] in ".-" for word in rest):
        return splice(text, mark.start, mark.stop, "")
    return splice(text, mark.start, mark.after, mark.typed)


def _not_yet(text: str, mark: Mark, later: Later) -> Flaw:
    rest = text[mark.after : mark.stop]
    end = mark.after
    if later.takes_value and rest.strip():
        word = rest.split(maxsplit=1)[0]
        end = mark.after + rest.index(word) + len(word)
    return Flaw(
        f"This version does not have --{mark.name} yet ({later.about}).",
        start=mark.start,
        end=mark.after,
        mended=splice(text, mark.start, end, ""),
    )
