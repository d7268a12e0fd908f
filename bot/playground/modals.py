"""Modals: what Discord refuses in them, and what its client sends when one is filled in.

Promises that the bot receives only what its own modal permits, with the objects behind every id.
Never decides what a modal is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from bot.playground.components import (
    CUSTOM_ID_LIMIT,
    ROWS_LIMIT,
    SELECTS,
    Kind,
    check_custom_ids,
    check_select,
    required,
    walk,
)
from bot.playground.errors import Problems
from bot.playground.options import PlayError, Resolver
from bot.playground.wire import Json

TICKS_LIMIT = 10
FIELDS = SELECTS | {
    Kind.TEXT_INPUT,
    Kind.FILE_UPLOAD,
    Kind.RADIO_GROUP,
    Kind.CHECKBOX_GROUP,
    Kind.CHECKBOX,
}
GROUPS = frozenset({Kind.RADIO_GROUP, Kind.CHECKBOX_GROUP})


def check_modal(problems: Problems, modal: Json, path: str) -> None:
    """Note what Discord refuses in a modal."""
    for part in ("title", "custom_id", "components"):
        if not modal.get(part):
            required(problems, f"{path}.{part}")
    problems.too_long(f"{path}.title", modal.get("title"), 45)
    problems.too_long(f"{path}.custom_id", modal.get("custom_id"), CUSTOM_ID_LIMIT)
    components = modal.get("components") or []
    if len(components) > ROWS_LIMIT:
        message = f"Must be between 1 and {ROWS_LIMIT} in length."
        problems.add(f"{path}.components", "BASE_TYPE_BAD_LENGTH", message)
    for index, item in enumerate(components):
        if item.get("type") not in (Kind.ROW, Kind.LABEL, Kind.TEXT):
            place = f"{path}.components.{index}.type"
            problems.add(place, "UNION_TYPE_CHOICES", 'Value of field "type" must be (1, 10, 18).')
    found = list(walk(components, f"{path}.components"))
    check_custom_ids(problems, found)
    for where, item in found:
        check_part(problems, item, where)


def check_part(problems: Problems, item: Json, where: str) -> None:
    """Note what is wrong with one part of a modal."""
    kind = item.get("type")
    if kind not in FIELDS | {Kind.ROW, Kind.LABEL, Kind.TEXT}:
        problems.add(f"{where}.type", "UNION_TYPE_CHOICES", "Not allowed in a modal.")
    if kind in (Kind.LABEL, Kind.TEXT_INPUT):
        problems.too_long(f"{where}.label", item.get("label"), 45)
        problems.too_long(f"{where}.description", item.get("description"), 100)
    if kind == Kind.TEXT_INPUT:
        problems.too_long(f"{where}.value", item.get("value"), 4000)
        problems.too_long(f"{where}.placeholder", item.get("placeholder"), 100)
    if kind in SELECTS:
        check_select(problems, item, where)
        if item.get("disabled"):
            message = "A select menu in a modal cannot be disabled"
            problems.add(f"{where}.disabled", "MODAL_SELECT_COMPONENT_DISABLED", message)
    if kind in GROUPS:
        least = 2 if kind == Kind.RADIO_GROUP else 1
        if not least <= len(item.get("options") or []) <= TICKS_LIMIT:
            message = f"Must be between {least} and {TICKS_LIMIT} in length."
            problems.add(f"{where}.options", "BASE_TYPE_BAD_LENGTH", message)


def fill_in(modal: Json, values: Mapping[str, Any], resolver: Resolver) -> Json:
    """Return the data of a submitted modal; what `values` does not name keeps its default."""
    known = {item["custom_id"] for _, item in walk(modal["components"], "") if "custom_id" in item}
    if unknown := set(values) - known:
        raise PlayError(f"the modal has no field {sorted(unknown)}; it has {sorted(known)}")
    numbers = count(1)
    filled = [fill_part(part, values, resolver, numbers) for part in modal["components"]]
    data: Json = {"custom_id": modal["custom_id"], "components": filled}
    return data | ({"resolved": resolver.resolved} if resolver.resolved else {})


def fill_part(
    part: Json, values: Mapping[str, Any], resolver: Resolver, numbers: Iterator[int]
) -> Json:
    """Return one component of a modal as the client submits it."""
    kind = part["type"]
    done: Json = {"type": kind, "id": part.get("id") or next(numbers)}
    if kind == Kind.ROW:
        inner = part["components"]
        return done | {"components": [fill_part(x, values, resolver, numbers) for x in inner]}
    if kind == Kind.LABEL:
        return done | {"component": fill_part(part["component"], values, resolver, numbers)}
    if "custom_id" not in part:
        return done
    custom_id = part["custom_id"]
    done["custom_id"] = custom_id
    given = values.get(custom_id)
    if kind == Kind.TEXT_INPUT:
        return done | {
            "value": typed_text(part, (part.get("value") or "") if given is None else given)
        }
    if kind == Kind.CHECKBOX:
        ticked = bool(part.get("default")) if given is None else given
        if not isinstance(ticked, bool):
            raise PlayError(f"{custom_id!r} is ticked or not, not {ticked!r}")
        return done | {"value": ticked}
    if kind == Kind.RADIO_GROUP:
        chosen = chosen_values(part, None if given is None else [given])
        return done | {"value": chosen[0] if chosen else None}
    chosen = chosen_values(part, given)
    resolve(kind, chosen, resolver)
    return done | {"values": chosen}


def chosen_values(part: Json, given: Sequence[Any] | None) -> list[str]:
    """Return what is chosen in a field of choices, or say why the client would not send it."""
    custom_id, kind = part["custom_id"], part["type"]
    if isinstance(given, str):
        raise PlayError(f"{custom_id!r} takes a list of values, not {given!r}")
    options = part.get("options") or []
    if given is None:
        preset = part.get("default_values") or []
        values = [option["value"] for option in options if option.get("default")]
        values += [str(item["id"]) for item in preset]
    else:
        values = [str(value) for value in given]
    offered = [option["value"] for option in options]
    if offered and (wrong := set(values) - set(offered)):
        raise PlayError(f"{custom_id!r} does not offer {sorted(wrong)}; it offers {offered}")
    whole = len(offered) if kind == Kind.CHECKBOX_GROUP else 1
    least = part.get("min_values")
    most = int(part.get("max_values") or whole)
    needed = part.get("required") is not False
    least = int(needed if least is None else least)
    if not values and not needed:
        return values
    if not least <= len(values) <= most:
        raise PlayError(f"{custom_id!r} takes {least} to {most} values, not {len(values)}")
    return values


def resolve(kind: int, values: Sequence[str], resolver: Resolver) -> None:
    """Collect the objects behind the ids that a field chose."""
    add = {
        Kind.USER_SELECT: resolver.add_user,
        Kind.ROLE_SELECT: resolver.add_role,
        Kind.MENTIONABLE_SELECT: resolver.add_mentionable,
        Kind.CHANNEL_SELECT: resolver.add_channel,
        Kind.FILE_UPLOAD: resolver.add_attachment,
    }.get(Kind(kind))
    if add is not None:
        for value in values:
            add(int(value))


def typed_text(part: Json, text: str) -> str:
    """Check a text against its field's limits."""
    least = int(part.get("min_length") or 0)
    most = int(part.get("max_length") or 4000)
    if not text and part.get("required", True):
        raise PlayError(f"the field {part['custom_id']!r} must be filled in")
    if text and not least <= len(text) <= most:
        raise PlayError(f"{part['custom_id']!r} takes {least} to {most} characters")
    return text
