"""The sentences for faults in config.toml: what stands there, what belongs there."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from bot.config_models import NAMED_SECTIONS, Config

_SHOWN: Final = 40
# Sections inside of sections, each with a name of its own below.
_INNER: Final = frozenset(
    {("limits", "roles"), ("moderation", "guilds"), ("moderation", "channels")}
)
_KINDS: Final = {
    "int_type": "must be a whole number without quotes",
    "int_from_float": "must be a whole number without quotes",
    "float_type": "must be a number without quotes",
    "finite_number": "must be a number, neither infinite nor nan",
    "bool_type": "must be true or false, without quotes",
    "string_type": "must be a text in quotes",
    "tuple_type": "must be a list in square brackets",
    "is_instance_of": "must be a path in quotes",
    "path_type": "must be a path in quotes",
    "model_type": "must be a section of its own, as the shipped config.toml has it",
    "model_attributes_type": "must be a section of its own, as the shipped config.toml has it",
    "mapping_type": "must be sections of their own, as in [models.emoji]",
    "dict_type": "must be sections of their own, as in [models.emoji]",
    "too_short": 'needs at least one model, as in [models.emoji] with path = "emoji"',
}


def key_name(place: tuple[str | int, ...]) -> str:
    """Write a place as the file has it: `[queue] max_waiting`, `[models.emoji] path`."""
    parts = [str(part)[:_SHOWN] for part in place if isinstance(part, str)]
    depth = _depth(parts)
    head, tail = parts[:depth], parts[depth:]
    return f"[{'.'.join(head)}]" + (f" {'.'.join(tail)}" if tail else "")


def _depth(parts: list[str]) -> int:
    """Return how many names the section's heading has."""
    if tuple(parts[:2]) in _INNER and len(parts) > 2:
        return 3
    named = bool(parts) and parts[0] in NAMED_SECTIONS
    return 2 if named or tuple(parts[:2]) in _INNER else 1


def describe(fault: ErrorDetails, data: Mapping[str, Any], place: tuple[str | int, ...]) -> str:
    """Say what is wrong with the value at a place."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(place, fault["input"])
    if kind == "missing":
        if place[0] == "presets":
            return 'is missing; every style needs one, as in prompt = "{prompt}, watercolour".'
        return 'is missing; every model needs one, as in path = "emoji".'
    if kind == "value_error":
        sentence = str(context["error"])
    elif kind == "literal_error":
        sentence = f"must be one of {context['expected']}".replace("'", '"').replace(" or ", ", ")
    elif kind == "string_too_long":
        sentence = f"must have at most {context['max_length']} characters"
    else:
        sentence = _KINDS.get(kind) or _bound(kind, context) or fault["msg"]
    return f"{sentence}{_but_is(fault['input'])}."


def _bound(kind: str, context: Mapping[str, Any]) -> str | None:
    words = {
        "greater_than_equal": ("ge", "at least"),
        "greater_than": ("gt", "more than"),
        "less_than_equal": ("le", "at most"),
        "less_than": ("lt", "less than"),
    }
    if kind not in words:
        return None
    name, phrase = words[kind]
    return f"must be {phrase} {context[name]:,}".replace(",", "_")


def _but_is(value: object) -> str:
    if isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return f", not {str(value).lower()}"
    # An int of thousands of digits may not be turned into text at all.
    if isinstance(value, int) and abs(value) > 10**_SHOWN:
        return ", not a number of that size"
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return f", not {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + '…'}"


def _unknown(place: tuple[str | int, ...], value: object) -> str:
    if len(place) > 1:
        return "is not a setting of Easel."
    home = _section_of(str(place[0]))
    if home is not None and not isinstance(value, dict):
        return f"stands outside its section; it belongs under [{home}]."
    if isinstance(value, dict):
        return "is not a section of Easel."
    return "is not a setting of Easel, and stands outside all sections."


def _section_of(key: str) -> str | None:
    found = [name for name, keys in _keys().items() if key in keys]
    return found[0] if len(found) == 1 else None


def _keys() -> dict[str, tuple[str, ...]]:
    """List the keys of every section."""
    keys = {}
    for section, field in Config.model_fields.items():
        model = NAMED_SECTIONS.get(section, field.annotation)
        keys[section] = tuple(getattr(model, "model_fields", ()))
    return keys


def nearest_key(place: tuple[str | int, ...], names: Iterable[str] | None = None) -> str | None:
    """Return the known section or key that looks most like an unknown one."""
    word = str(place[-1])
    if names is not None:
        return _closest(word, names)
    keys = _keys()
    if len(place) == 1:
        section = _closest(word, keys)
        return None if section is None else f"[{section}]"
    section = str(place[0])
    inside = _closest(word, keys.get(section, ()))
    if inside is not None:
        return inside
    everywhere = {f"[{name}] {key}": key for name, found in keys.items() for key in found}
    best = _closest(word, everywhere.values())
    return next((name for name, key in everywhere.items() if key == best), None)


def _closest(word: str, names: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(word[:_SHOWN], list(names), n=1, cutoff=0.6)
    return found[0] if found else None
