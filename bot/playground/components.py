"""Buttons, menus and layouts: what Discord refuses in them, and how it gives them back.

Promises the limits of the real API for classic rows and for components V2.
Never decides what a press does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import count

from bot.playground.errors import Problems
from bot.playground.wire import Json

CUSTOM_ID_LIMIT = 100
ROWS_LIMIT = 5
ROW_LIMIT = 5
V2_LIMIT = 40
V2_TEXT_LIMIT = 4000
LABEL_LIMIT = 80
OPTIONS_LIMIT = 25


class Kind(IntEnum):
    """The component types."""

    ROW = 1
    BUTTON = 2
    SELECT = 3
    TEXT_INPUT = 4
    USER_SELECT = 5
    ROLE_SELECT = 6
    MENTIONABLE_SELECT = 7
    CHANNEL_SELECT = 8
    SECTION = 9
    TEXT = 10
    THUMBNAIL = 11
    GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17
    LABEL = 18
    FILE_UPLOAD = 19
    RADIO_GROUP = 21
    CHECKBOX_GROUP = 22
    CHECKBOX = 23


SELECTS = frozenset(
    {Kind.SELECT, Kind.USER_SELECT, Kind.ROLE_SELECT, Kind.MENTIONABLE_SELECT, Kind.CHANNEL_SELECT}
)
V2_TOP = frozenset(
    {
        Kind.ROW,
        Kind.SECTION,
        Kind.TEXT,
        Kind.GALLERY,
        Kind.FILE,
        Kind.SEPARATOR,
        Kind.CONTAINER,
    }
)


def walk(components: list[Json], path: str) -> Iterator[tuple[str, Json]]:
    """Yield every component with its path, outer ones first."""
    for index, item in enumerate(components):
        where = f"{path}.{index}"
        yield where, item
        yield from walk(item.get("components") or [], f"{where}.components")
        for key in ("accessory", "component"):
            if isinstance(item.get(key), dict):
                yield f"{where}.{key}", item[key]


def check_components(problems: Problems, components: list[Json], path: str, *, v2: bool) -> None:
    """Note what Discord refuses in the components of a message."""
    found = list(walk(components, path))
    if v2:
        if len(found) > V2_LIMIT:
            message = f"The total number of components cannot exceed {V2_LIMIT}"
            problems.add(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", message)
        texts = sum(len(item.get("content") or "") for _, item in found)
        if texts > V2_TEXT_LIMIT:
            message = f"The total text cannot exceed {V2_TEXT_LIMIT} characters"
            problems.add(path, "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", message)
    elif len(components) > ROWS_LIMIT:
        problems.add(path, "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {ROWS_LIMIT} in length.")
    allowed = V2_TOP if v2 else frozenset({Kind.ROW})
    for index, item in enumerate(components):
        if item.get("type") not in allowed:
            choices = ", ".join(str(int(kind)) for kind in sorted(allowed))
            message = f'Value of field "type" must be one of ({choices}).'
            problems.add(f"{path}.{index}.type", "UNION_TYPE_CHOICES", message)
    check_custom_ids(problems, found)
    for where, item in found:
        check_one(problems, item, where)


def check_custom_ids(problems: Problems, found: list[tuple[str, Json]]) -> None:
    """Note custom ids that are too long or appear twice."""
    seen: set[str] = set()
    for where, item in found:
        custom_id = item.get("custom_id")
        if custom_id is None:
            continue
        problems.too_long(f"{where}.custom_id", custom_id, CUSTOM_ID_LIMIT)
        if not custom_id:
            message = f"Must be between 1 and {CUSTOM_ID_LIMIT} in length."
            problems.add(f"{where}.custom_id", "BASE_TYPE_BAD_LENGTH", message)
        if custom_id in seen:
            message = "Component custom id cannot be duplicated"
            problems.add(f"{where}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", message)
        seen.add(custom_id)


def check_one(problems: Problems, item: Json, where: str) -> None:
    """Note what is wrong with one component."""
    kind = item.get("type")
    if kind == Kind.ROW:
        check_row(problems, item, where)
    elif kind == Kind.BUTTON:
        check_button(problems, item, where)
    elif kind in SELECTS:
        check_select(problems, item, where)
    elif kind == Kind.GALLERY:
        items = item.get("items") or []
        if not 1 <= len(items) <= 10:
            problems.add(f"{where}.items", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 10.")
    elif kind not in set(Kind):
        problems.add(f"{where}.type", "UNION_TYPE_CHOICES", "Unknown component type.")


def check_row(problems: Problems, item: Json, where: str) -> None:
    """Note a row that is empty, too long, or mixes buttons with a menu."""
    inner = item.get("components") or []
    menus = [part for part in inner if part.get("type") in SELECTS]
    if not 1 <= len(inner) <= ROW_LIMIT or (menus and len(inner) > 1):
        message = f"Must be between 1 and {1 if menus else ROW_LIMIT} in length."
        problems.add(f"{where}.components", "BASE_TYPE_BAD_LENGTH", message)
    for index, part in enumerate(inner):
        if part.get("type") not in SELECTS | {Kind.BUTTON, Kind.TEXT_INPUT}:
            place = f"{where}.components.{index}.type"
            problems.add(place, "UNION_TYPE_CHOICES", 'Value of field "type" is not allowed here.')


def check_select(problems: Problems, item: Json, where: str) -> None:
    """Note a menu without choices, with too many, or that asks for more than it offers."""
    if not item.get("custom_id"):
        required(problems, f"{where}.custom_id")
    problems.too_long(f"{where}.placeholder", item.get("placeholder"), 150)
    options = item.get("options") or []
    least, most = (item.get(key) for key in ("min_values", "max_values"))
    if item.get("type") == Kind.SELECT:
        if not 1 <= len(options) <= OPTIONS_LIMIT:
            message = f"Must be between 1 and {OPTIONS_LIMIT} in length."
            problems.add(f"{where}.options", "BASE_TYPE_BAD_LENGTH", message)
        if most is not None and most > len(options):
            message = f"Max values ({most}) is larger than the number of options."
            problems.add(f"{where}.max_values", "SELECT_COMPONENT_MAX_VALUES_TOO_LARGE", message)
    if least is not None and most is not None and least > most:
        message = "Min values must not be larger than max values."
        problems.add(f"{where}.min_values", "SELECT_COMPONENT_MIN_VALUES_TOO_LARGE", message)
    seen: set[str] = set()
    for index, option in enumerate(options):
        place = f"{where}.options.{index}"
        for part in ("label", "value", "description"):
            problems.too_long(f"{place}.{part}", option.get(part), 100)
            if part != "description" and not option.get(part):
                required(problems, f"{place}.{part}")
        if option.get("value") in seen:
            message = "The specified option value is already used"
            problems.add(f"{place}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", message)
        seen.add(str(option.get("value")))


def check_button(problems: Problems, item: Json, where: str) -> None:
    """Note a button without what its style needs."""
    style = item.get("style")
    problems.too_long(f"{where}.label", item.get("label"), LABEL_LIMIT)
    if style not in range(1, 7):
        problems.add(
            f"{where}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}."
        )
    if style == 5:
        if not item.get("url"):
            required(problems, f"{where}.url")
        if item.get("custom_id"):
            message = "A custom id and url cannot both be specified"
            problems.add(where, "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", message)
    elif style in range(1, 5):
        if not item.get("custom_id"):
            message = "A custom id is required"
            problems.add(f"{where}.custom_id", "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED", message)
        if not item.get("label") and not item.get("emoji"):
            message = "A button must have a label or an emoji"
            problems.add(where, "BUTTON_COMPONENT_INVALID_LABEL", message)


def required(problems: Problems, path: str) -> None:
    """Note a missing field."""
    problems.add(path, "BASE_TYPE_REQUIRED", "This field is required")


def as_given_back(components: list[Json], media: Callable[[str], Json]) -> list[Json]:
    """Return the components as the API shows them: numbered, defaults filled, media resolved."""
    numbers = count(1)
    return [complete(item, numbers, media) for item in components]


def complete(item: Json, numbers: Iterator[int], media: Callable[[str], Json]) -> Json:
    """Fill in what the API adds to one component and its children."""
    done = {key: value for key, value in item.items() if value is not None}
    done["id"] = item.get("id") or next(numbers)
    kind = item["type"]
    if isinstance(done.get("emoji"), dict):
        # A plain emoji has a name and no id; the API leaves out what is not there.
        done["emoji"] = {k: v for k, v in done["emoji"].items() if v is not None}
    if kind in SELECTS:
        done = {"min_values": 1, "max_values": 1} | done
    if kind in (Kind.CONTAINER, Kind.THUMBNAIL, Kind.FILE):
        done.setdefault("spoiler", False)
    if kind == Kind.CONTAINER:
        done.setdefault("accent_color", None)
    if kind == Kind.SEPARATOR:
        done = {"spacing": 1, "divider": True} | done
    if kind == Kind.THUMBNAIL:
        done = done | {"media": media(item["media"]["url"])}
        done.setdefault("description", None)
    if kind == Kind.FILE:
        done |= {"file": media(item["file"]["url"]), "name": None, "size": None}
    if kind == Kind.GALLERY:
        done["items"] = [
            {
                "media": media(entry["media"]["url"]),
                "description": entry.get("description"),
                "spoiler": bool(entry.get("spoiler")),
            }
            for entry in item["items"]
        ]
    if "components" in item:
        done["components"] = [complete(part, numbers, media) for part in item["components"]]
    if "accessory" in item:
        done["accessory"] = complete(item["accessory"], numbers, media)
    return done
