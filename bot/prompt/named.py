"""Samplers and schedules behind their flags: names of several words, with or without quotes.

Promises that a name is read as long as it goes, and that one which this version lacks, or nobody
knows, is refused with the nearest that there is.
"""

import re

import diffusion
from bot.language import tr
from bot.prompt import values
from bot.prompt.errors import Flaw
from bot.prompt.flags import Kind
from bot.prompt.mend import clip, nearest
from bot.prompt.samplers import (
    SamplerName,
    read_sampler,
    read_schedule,
    sampler_choices,
    sampler_label,
    schedule_choices,
    schedule_label,
)
from bot.prompt.values import Piece, Site


def read_named_sampler(site: Site) -> tuple[Piece, SamplerName]:
    """Read a sampler, which may name its schedule too."""
    pieces = _pieces(site)
    for piece in pieces:
        sampler = read_sampler(piece.text)
        if sampler is not None:
            return piece, _available(site, piece, sampler)
    raise _unknown_name(site, pieces[0])


def read_named_schedule(site: Site) -> tuple[Piece, str]:
    """Read a schedule."""
    pieces = _pieces(site)
    for piece in pieces:
        schedule = read_schedule(piece.text)
        if schedule is not None:
            _check_schedule(site, piece, schedule)
            return piece, schedule
    raise _unknown_name(site, pieces[0])


def _pieces(site: Site) -> list[Piece]:
    first = values.first_value(site)
    return [first] if values.is_quoted(first) else _longest_first(site)


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
    message = tr(
        "This version does not have the sampler {name} yet; it has {known}.",
        name=sampler_label(name.sampler),
        known=", ".join(sampler_choices()),
    )
    raise site.refuse(piece, message, sampler_label(near) if near else None)


def _check_schedule(site: Site, piece: Piece, schedule: str) -> None:
    if schedule in diffusion.SCHEDULES:
        return
    meant = None
    if site.flag.kind is Kind.SAMPLER:
        plain = read_sampler(piece.text)
        meant = sampler_label(plain.sampler) if plain else None
    message = tr(
        "This version does not have the schedule {name} yet; it has {known}.",
        name=schedule_label(schedule),
        known=", ".join(schedule_choices()),
    )
    raise site.refuse(piece, message, meant)


def _unknown_name(site: Site, piece: Piece) -> Flaw:
    is_sampler = site.flag.kind is Kind.SAMPLER
    known = sampler_choices() if is_sampler else schedule_choices()
    name, listed = clip(piece.text), ", ".join(known)
    if is_sampler:
        message = tr(
            "There is no sampler “{name}”; this version has {known}.", name=name, known=listed
        )
    else:
        message = tr(
            "There is no schedule “{name}”; this version has {known}.", name=name, known=listed
        )
    by_fold = {each.casefold(): each for each in known}
    near = nearest(piece.text.casefold(), by_fold)
    return site.refuse(piece, message, by_fold[near] if near else None)
