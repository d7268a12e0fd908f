"""The names of samplers and schedules: ours, and those that A1111's users know.

Promises: one table each; both directions of the translation agree. Never imports torch, so that the
bot can offer and check names before any network is loaded.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

SAMPLER_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ddpm": "DDPM",
        "ddim": "DDIM",
        "euler": "Euler",
        "euler_a": "Euler a",
        "dpmpp_2m": "DPM++ 2M",
    }
)
SCHEDULE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "uniform": "Uniform",
        "karras": "Karras",
    }
)
SAMPLERS: Final[tuple[str, ...]] = tuple(SAMPLER_LABELS)
SCHEDULES: Final[tuple[str, ...]] = tuple(SCHEDULE_LABELS)

# Spellings seen in the wild besides the label and our own name.
_SAMPLER_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "k euler": "euler",
        "k euler a": "euler_a",
        "euler ancestral": "euler_a",
        "k euler ancestral": "euler_a",
        "k dpmpp 2m": "dpmpp_2m",
        "dpmpp2m": "dpmpp_2m",
        "dpm solver++": "dpmpp_2m",
    }
)


def sampler_label(name: str) -> str:
    """Return the label that A1111's users know, such as `Euler a` for `euler_a`."""
    return SAMPLER_LABELS[name]


def schedule_label(name: str) -> str:
    """Return the label that A1111's users know, such as `Karras` for `karras`."""
    return SCHEDULE_LABELS[name]


def parse_sampler(text: str) -> tuple[str, str | None] | None:
    """Read a sampler as people write it into (sampler, schedule or None); None when unknown.

    Case, spaces, dashes and underscores do not matter, `++` equals `pp`, and A1111's old habit of
    naming the schedule last (`DPM++ 2M Karras`) is understood.
    """
    key = _fold(text)
    names = {_fold(name): name for name in SAMPLERS}
    names |= {_fold(label): name for name, label in SAMPLER_LABELS.items()}
    names |= {_fold(alias): name for alias, name in _SAMPLER_ALIASES.items()}
    if key in names:
        return names[key], None
    for schedule in SCHEDULES:
        stem = key.removesuffix(_fold(schedule))
        if stem != key and stem in names:
            return names[stem], schedule
    return None


def parse_schedule(text: str) -> str | None:
    """Read a schedule as people write it; None when unknown."""
    key = _fold(text)
    return {_fold(name): name for name in SCHEDULES}.get(key)


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to what was typed, or None when nothing is close."""
    found = difflib.get_close_matches(text.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def _fold(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", text.strip().lower().replace("++", "pp"))
