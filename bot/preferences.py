"""What people, channels and servers prefer: the names, the values they may have, and who wins.

Promises that a value which is no longer possible (a model that is gone, a row of a later version)
counts as none, so that the next in line decides: the person, the channel, the server, the bot's own
settings. Pure: what is stored is given; `preferred` alone asks the store. Sends nothing.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from bot.config_models import Config
from bot.prompt.flags import QUALITIES
from storage import Scope, StorageError, Store

MAX_STYLIZE: Final = 1000
MAX_SUFFIX: Final = 500
VARIATIONS: Final = ("subtle", "strong")
SPEEDS: Final = ("draft", "fast", "relax")


class Name(StrEnum):
    """What can be preferred; the value is the key in the store, for ever."""

    MODEL = "model"
    QUALITY = "quality"
    STYLIZE = "stylize"
    VARIATION = "variation"
    REMIX = "remix"
    SPEED = "speed"
    RAW = "raw"
    PRIVATE = "private"
    DM = "dm"
    SUFFIX = "suffix"
    WORDS = "words"


# What is about a person alone: a channel or a server has no say in it.
PERSONAL: Final = frozenset({Name.DM, Name.SUFFIX, Name.WORDS})


class Origin(StrEnum):
    """Who said so, the strongest first."""

    USER = "user"
    CHANNEL = "channel"
    GUILD = "guild"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A value that holds, and where it comes from."""

    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """Every preference that holds for one person in one place."""

    chosen: Mapping[Name, Chosen]

    def __getitem__(self, name: Name) -> Any:  # noqa: ANN401 - values are of many types
        """Return the value that holds."""
        return self.chosen[name].value


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


_POSSIBLE: Final[Mapping[Name, Callable[[object, Container[object]], bool]]] = MappingProxyType(
    {
        Name.MODEL: lambda value, models: isinstance(value, str) and value in models,
        Name.QUALITY: lambda value, _: not isinstance(value, bool) and value in QUALITIES,
        Name.STYLIZE: lambda value, _: _is_whole(value, MAX_STYLIZE),
        Name.VARIATION: lambda value, _: value in VARIATIONS,
        Name.SPEED: lambda value, _: value in SPEEDS,
        Name.REMIX: lambda value, _: isinstance(value, bool),
        Name.RAW: lambda value, _: isinstance(value, bool),
        Name.PRIVATE: lambda value, _: isinstance(value, bool),
        Name.DM: lambda value, _: isinstance(value, bool),
        Name.SUFFIX: lambda value, _: isinstance(value, str) and len(value) <= MAX_SUFFIX,
        Name.WORDS: lambda value, _: isinstance(value, bool),
    }
)


def is_possible(name: Name, value: object, models: Container[object]) -> bool:
    """Say whether a preference may have this value on this server."""
    return _POSSIBLE[name](value, models)


def fallbacks(config: Config) -> dict[Name, Any]:
    """Return what holds where nobody said anything."""
    return {
        Name.MODEL: config.defaults.model,
        Name.QUALITY: 1.0,
        Name.STYLIZE: config.defaults.stylize,
        Name.VARIATION: "strong",
        Name.REMIX: False,
        Name.SPEED: "fast",
        Name.RAW: False,
        Name.PRIVATE: False,
        Name.DM: False,
        Name.SUFFIX: "",
        # A file travels further than the message it was posted in, and forgetting cannot follow it.
        Name.WORDS: False,
    }


def effective(
    layers: Mapping[Origin, Mapping[str, Any]], config: Config, models: Container[object]
) -> Preferred:
    """Decide every preference from what is stored for person, channel and server."""
    chosen = {
        name: Chosen(value=value, origin=Origin.CONFIG) for name, value in fallbacks(config).items()
    }
    for origin in (Origin.GUILD, Origin.CHANNEL, Origin.USER):
        for key, value in layers.get(origin, {}).items():
            if key not in set(Name) or (origin is not Origin.USER and key in PERSONAL):
                continue
            name = Name(key)
            if is_possible(name, value, models):
                chosen[name] = Chosen(value=value, origin=origin)
    return Preferred(chosen=chosen)


async def tells_words(store: Store, user_id: int) -> bool:
    """Say whether somebody wants their prompts in the files of their pictures; nobody else decides,
    and where that cannot be read they are not.
    """
    try:
        return (await store.people.preferences(Scope.USER, user_id)).get(Name.WORDS) is True
    except StorageError:
        return False


async def preferred(
    store: Store,
    config: Config,
    models: Container[object],
    *,
    user_id: int | None,
    channel_id: int | None,
    guild_id: int | None,
) -> Preferred:
    """Return what holds for a person (or, with None, for anybody) in a channel and a server."""
    asked = {
        Origin.USER: (Scope.USER, user_id),
        Origin.CHANNEL: (Scope.CHANNEL, channel_id),
        Origin.GUILD: (Scope.GUILD, guild_id),
    }
    layers = {
        origin: await store.people.preferences(scope, one)
        for origin, (scope, one) in asked.items()
        if one is not None
    }
    return effective(layers, config, models)
