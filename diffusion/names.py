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
        "plms": "PLMS",
        "euler": "Euler",
        "euler_a": "Euler a",
        "heun": "Heun",
        "lms": "LMS",
        "dpm2": "DPM2",
        "dpm2_a": "DPM2 a",
        "dpmpp_2s_a": "DPM++ 2S a",
        "dpmpp_2m": "DPM++ 2M",
        "dpmpp_sde": "DPM++ SDE",
        "dpmpp_2m_sde": "DPM++ 2M SDE",
        "dpmpp_3m_sde": "DPM++ 3M SDE",
        "unipc": "UniPC",
        "deis": "DEIS",
        "lcm": "LCM",
        "tcd": "TCD",
    }
)
SCHEDULE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "uniform": "Uniform",
        "karras": "Karras",
        "exponential": "Exponential",
        "trailing": "Trailing",
        "leading": "Leading",
        "linspace": "Linspace",
        "sgm_uniform": "SGM Uniform",
        "simple": "Simple",
        "ays": "Align Your Steps",
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
        "k heun": "heun",
        "k lms": "lms",
        "k dpm 2": "dpm2",
        "k dpm 2 a": "dpm2_a",
        "k dpm 2 ancestral": "dpm2_a",
        "dpm2 ancestral": "dpm2_a",
        "kdpm2": "dpm2",
        "kdpm2 a": "dpm2_a",
        "dpm++ 2s ancestral": "dpmpp_2s_a",
        "k dpmpp 2s a": "dpmpp_2s_a",
        "k dpmpp 2s ancestral": "dpmpp_2s_a",
        "k dpmpp 2m": "dpmpp_2m",
        "dpmpp2m": "dpmpp_2m",
        "dpm solver++": "dpmpp_2m",
        "k dpmpp sde": "dpmpp_sde",
        "k dpmpp 2m sde": "dpmpp_2m_sde",
        "k dpmpp 3m sde": "dpmpp_3m_sde",
        "uni pc": "unipc",
        "pndm": "plms",
    }
)
_SCHEDULE_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"align your steps": "ays", "sgm": "sgm_uniform"}
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
    for ending, schedule in _schedule_spellings().items():
        stem = key.removesuffix(ending)
        if stem != key and stem in names:
            return names[stem], schedule
    return None


def parse_schedule(text: str) -> str | None:
    """Read a schedule as people write it; None when unknown."""
    return _schedule_spellings().get(_fold(text))


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to what was typed, or None when nothing is close."""
    found = difflib.get_close_matches(text.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def _schedule_spellings() -> dict[str, str]:
    found = {_fold(name): name for name in SCHEDULES}
    found |= {_fold(label): name for name, label in SCHEDULE_LABELS.items()}
    return found | {_fold(alias): name for alias, name in _SCHEDULE_ALIASES.items()}


def _fold(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", text.strip().lower().replace("++", "pp"))
