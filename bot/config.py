"""Configuration: from the text of config.toml to a checked, immutable `Config`, or one sentence.

Promises that any file at all gives a `Config` or a `ConfigError` that names file, line and key and
never another exception; that a reload leaves the settings in force untouched; and that a file with
a token in it is refused without the token being repeated. Never watches files and never reads the
environment. Relative paths are read from the folder of the file.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from bot.config_errors import ConfigError
from bot.config_lines import Lines, Place, find_lines
from bot.config_models import (
    NAMED_SECTIONS,
    Config,
    DefaultsConfig,
    DeliveryConfig,
    DiscordConfig,
    EngineConfig,
    LimitsConfig,
    ModelConfig,
    ModerationConfig,
    MonitoringConfig,
    QueueConfig,
    Restart,
    Section,
    StorageConfig,
)
from bot.config_sentences import describe, key_name, nearest_key
from bot.secrets import find_token_shape

__all__ = [
    "Config",
    "ConfigError",
    "DefaultsConfig",
    "DeliveryConfig",
    "DiscordConfig",
    "EngineConfig",
    "LimitsConfig",
    "ModelConfig",
    "ModerationConfig",
    "MonitoringConfig",
    "QueueConfig",
    "Section",
    "StorageConfig",
    "load_config",
    "parse_config",
    "read_text",
    "reload",
    "reload_text",
    "restart_keys",
]

_MAX_BYTES: Final = 1 << 20
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_NUMBER: Final = re.compile(r"[-+]?[\d_.]*")


def load_config(path: Path) -> Config:
    """Read and check a configuration file."""
    return parse_config(read_text(path), path)


def reload(path: Path, current: Config) -> Config:
    """Read a changed file for a running bot; refuse what only a restart can change."""
    return reload_text(read_text(path), path, current)


def reload_text(text: str, path: Path, current: Config) -> Config:
    """Check the text of a changed file as `reload` does."""
    fresh = parse_config(text, path)
    for place in restart_keys(fresh, current):
        raise ConfigError(
            "cannot change while the bot runs: restart it, or put the old value back. "
            "Until then the settings before this edit stay in force.",
            file=path,
            line=find_lines(text).of(place),
            key=key_name(place),
        )
    return fresh


def parse_config(text: str, path: Path) -> Config:
    """Check the text of a configuration file that lies at this path."""
    _refuse_token(text, path)
    data = _parse_toml(text, path)
    lines = find_lines(text)
    _refuse_hidden_token(data, lines, path)
    plain = [name for name in Config.model_fields if name not in NAMED_SECTIONS]
    sections: dict[str, Any] = {name: {} for name in plain}
    try:
        config = Config.model_validate(sections | data, context={"folder": path.parent})
    except ValidationError as error:
        raise _first_fault(error, data, lines, path) from None
    except (OverflowError, RecursionError, ValueError) as error:
        raise ConfigError("has a value too large to use", file=path) from error
    _check_together(config, lines, path)
    return config


def read_text(path: Path) -> str:
    """Return the text of a configuration file, unchecked."""
    try:
        if not path.exists():
            raise ConfigError(
                "there is no such file; config.toml in the project's folder is a "
                "complete one to copy.",
                file=path,
            )
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a file"
            raise ConfigError(f"this is {kind}; the configuration is one TOML file.", file=path)
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no usable path"
        raise ConfigError(f"cannot be read: {reason}.", file=path) from error
    if len(data) > _MAX_BYTES:
        raise ConfigError("is larger than 1 MiB, which no configuration is.", file=path)
    try:
        # Windows editors put a byte order mark in front; TOML does not allow one.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "is not UTF-8 text here; save the file with the encoding UTF-8."
        raise ConfigError(message, file=path, line=line) from None


def _refuse_token(text: str, path: Path) -> None:
    found = find_token_shape(text)
    if found is not None:
        raise _token_error(path, text.count("\n", 0, found) + 1)


def _refuse_hidden_token(data: dict[str, Any], lines: Lines, path: Path) -> None:
    """Find tokens that escapes such as \\u002E hide from the look at the text."""
    for place, value in _leaves(data):
        parts = [str(part) for part in place] + [value if isinstance(value, str) else ""]
        if any(find_token_shape(part) is not None for part in parts):
            raise _token_error(path, lines.of(place))


def _token_error(path: Path, line: int | None) -> ConfigError:
    return ConfigError(
        "here stands something shaped like a Discord token, and configuration files get shared. "
        "Take it out, make a new token if anybody saw this file, and give it to the bot in the "
        "environment variable DISCORD_TOKEN or in a file named by [discord] token_file.",
        file=path,
        line=line,
    )


def _leaves(value: object) -> Iterator[tuple[Place, object]]:
    """Walk all values without recursion, as a file may nest deeply."""
    waiting: list[tuple[Place, object]] = [((), value)]
    while waiting:
        at, one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(((*at, key), inner) for key, inner in one.items())
            if not one:
                yield at, None
        elif isinstance(one, list):
            waiting.extend(((*at, index), inner) for index, inner in enumerate(one))
        else:
            yield at, one


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, path) from None
    except RecursionError:
        raise ConfigError("nests brackets too deeply.", file=path) from None
    except (ValueError, OverflowError):
        raise ConfigError("holds a number of thousands of digits.", file=path) from None


def _syntax_error(told: str, text: str, path: Path) -> ConfigError:
    place = _PLACE.search(told)
    reason = told[: place.start()] if place else told
    repeated = find_lines(text)
    if repeated.again and ("overwrite" in reason or "twice" in reason):
        again, line = repeated.again[0]
        before = repeated.of(again)
        message = f"is already set on line {before}; every key stands once."
        return ConfigError(message, file=path, line=line, key=key_name(again))
    line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
    message = f"is not TOML: {reason[:1].lower()}{reason[1:]}."
    return ConfigError(message, file=path, line=line)


def _first_fault(
    error: ValidationError, data: dict[str, Any], lines: Lines, path: Path
) -> ConfigError:
    """Choose the fault that stands first in the file, and say how many more there are."""
    faults = error.errors(include_url=False)
    places = [tuple(part for part in fault["loc"] if part != "[key]") for fault in faults]
    order = sorted(range(len(faults)), key=lambda i: lines.of(places[i]) or 0)
    first = order[0]
    message = describe(faults[first], data, places[first])
    others = len(faults) - 1
    if others:
        message += f" ({others} more {'fault' if others == 1 else 'faults'} in this file.)"
    in_section = len(places[first]) > 1 or isinstance(data.get(str(places[first][0])), dict)
    unknown = faults[first]["type"] == "extra_forbidden"
    return ConfigError(
        message,
        file=path,
        line=lines.of(places[first]),
        key=key_name(places[first]) if in_section else str(places[first][0]),
        nearest=nearest_key(places[first]) if unknown else None,
    )


def _check_together(config: Config, lines: Lines, path: Path) -> None:
    """Check the settings that only make sense beside each other."""
    defaults = config.defaults
    if defaults.model not in config.models:
        place = ("defaults", "model")
        known = ", ".join(sorted(config.models))
        raise ConfigError(
            f"names a model that no [models.…] section describes; there are: {known}.",
            file=path,
            line=lines.of(place),
            key=key_name(place),
            nearest=nearest_key((defaults.model,), tuple(config.models)),
        )
    if defaults.steps > config.limits.max_steps:
        place = ("defaults", "steps")
        raise ConfigError(
            f"is {defaults.steps}, above [limits] max_steps, which is {config.limits.max_steps}.",
            file=path,
            line=lines.of(place),
            key=key_name(place),
        )


def restart_keys(fresh: Config, current: Config) -> Iterator[tuple[str, ...]]:
    """Name every changed setting that a running bot cannot change."""
    for section, field in Config.model_fields.items():
        new, old = getattr(fresh, section), getattr(current, section)
        if _needs_restart(field.metadata):
            yield from _changed_models(new, old)
            continue
        if section in NAMED_SECTIONS:
            continue
        for key, inner in type(new).model_fields.items():
            if _needs_restart(inner.metadata) and getattr(new, key) != getattr(old, key):
                yield section, key


def _changed_models(
    new: dict[str, ModelConfig], old: dict[str, ModelConfig]
) -> Iterator[tuple[str, ...]]:
    for alias in sorted(new.keys() | old.keys()):
        if alias not in new or alias not in old:
            yield "models", alias
            continue
        for key, field in ModelConfig.model_fields.items():
            if _needs_restart(field.metadata) and getattr(new[alias], key) != getattr(
                old[alias], key
            ):
                yield "models", alias, key


def _needs_restart(metadata: list[Any]) -> bool:
    return any(isinstance(one, Restart) for one in metadata)
