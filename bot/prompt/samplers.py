"""Names of samplers and schedules as people know them from A1111, and as the engine calls them.

Promises that a name is either one the engine has, or known but not built yet, or unknown; never
maps a name to a different algorithm.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import diffusion
from diffusion.names import SAMPLER_LABELS, SCHEDULE_LABELS


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerName:
    """What a typed sampler name means: the engine's name, and the schedule where it named one."""

    sampler: str
    schedule: str | None = None


# Names people know that are not all the engine's yet; A1111's spelling comes first. The labels of
# those the engine has are its own (`diffusion.names`).
_SAMPLERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "euler": ("Euler", "k_euler"),
        "euler_a": ("Euler a", "Euler Ancestral", "k_euler_a"),
        "heun": ("Heun", "k_heun"),
        "lms": ("LMS", "k_lms"),
        "lcm": ("LCM",),
        "plms": ("PLMS",),
        "pndm": ("PNDM",),
        "dpm2": ("DPM2", "k_dpm_2"),
        "dpm2_a": ("DPM2 a", "DPM2 Ancestral", "k_dpm_2_a"),
        "dpm_fast": ("DPM fast",),
        "dpm_adaptive": ("DPM adaptive",),
        "dpmpp_2s_a": ("DPM++ 2S a", "DPM++ 2S Ancestral", "k_dpmpp_2s_a"),
        "dpmpp_2m": ("DPM++ 2M", "k_dpmpp_2m"),
        "dpmpp_sde": ("DPM++ SDE", "k_dpmpp_sde"),
        "dpmpp_2m_sde": ("DPM++ 2M SDE", "k_dpmpp_2m_sde"),
        "dpmpp_2m_sde_heun": ("DPM++ 2M SDE Heun",),
        "dpmpp_3m_sde": ("DPM++ 3M SDE",),
        "ddim_cfgpp": ("DDIM CFG++",),
        "unipc": ("UniPC",),
        "restart": ("Restart",),
        "deis": ("DEIS",),
        "tcd": ("TCD",),
    }
)
_SCHEDULES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "normal": ("Normal",),
        "exponential": ("Exponential",),
        "polyexponential": ("Polyexponential",),
        "trailing": ("Trailing",),
        "linspace": ("Linspace",),
        "sgm_uniform": ("SGM Uniform",),
        "simple": ("Simple",),
        "beta": ("Beta",),
        "kl_optimal": ("KL Optimal",),
        "ays": ("AYS", "Align Your Steps"),
    }
)


def fold(name: str) -> str:
    """Reduce a name to what identifies it: `DPM++ 2M` and `dpmpp_2m` become the same."""
    plain = unicodedata.normalize("NFKC", name).casefold().replace("+", "p")
    return re.sub(r"[^a-z0-9]", "", plain)


def _by_fold(known: Mapping[str, tuple[str, ...]], labels: Mapping[str, str]) -> Mapping[str, str]:
    """Map every folded spelling to its name; the engine's own names and labels win."""
    found = {fold(one): name for name, spellings in known.items() for one in (*spellings, name)}
    found |= {fold(one): name for name, label in labels.items() for one in (label, name)}
    return MappingProxyType(found)


_SAMPLER_BY_FOLD: Final = _by_fold(_SAMPLERS, SAMPLER_LABELS)
_SCHEDULE_BY_FOLD: Final = _by_fold(_SCHEDULES, SCHEDULE_LABELS)


def read_schedule(text: str) -> str | None:
    """Return the schedule a text names, whether the engine has it or not; None if unknown."""
    return _SCHEDULE_BY_FOLD.get(fold(text))


def read_sampler(text: str) -> SamplerName | None:
    """Return the sampler a text names, with the schedule at its end; None if unknown."""
    key = fold(text)
    if key in _SAMPLER_BY_FOLD:
        return SamplerName(sampler=_SAMPLER_BY_FOLD[key])
    for ending, schedule in _SCHEDULE_BY_FOLD.items():
        sampler = _SAMPLER_BY_FOLD.get(key.removesuffix(ending)) if key.endswith(ending) else None
        if sampler is not None:
            return SamplerName(sampler=sampler, schedule=schedule)
    return None


def sampler_label(name: str) -> str:
    """Spell an engine name as people know it: `dpmpp_2m` is `DPM++ 2M`."""
    return SAMPLER_LABELS.get(name) or _SAMPLERS.get(name, (name,))[0]


def schedule_label(name: str) -> str:
    """Spell a schedule as people know it."""
    return SCHEDULE_LABELS.get(name) or _SCHEDULES.get(name, (name,))[0]


def sampler_choices() -> tuple[str, ...]:
    """Return the samplers of this version as people know them."""
    return tuple(sampler_label(name) for name in diffusion.SAMPLERS)


def schedule_choices() -> tuple[str, ...]:
    """Return the schedules of this version as people type them."""
    return tuple(diffusion.SCHEDULES)
