"""The settings that were last in force, kept beside the database, and what a new file changes.

Promises that `config.applied.toml` holds the text of a file that was checked and held no token, and
that every difference is named with its key, both values, and whether it needs a restart.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bot.config import Config, ConfigError, parse_config, restart_keys
from bot.config_sentences import key_name
from bot.language import tr

NAME: Final = "config.applied.toml"
_SHOWN: Final = 60

log = logging.getLogger(__name__)


def keep_applied(config: Config, text: str) -> None:
    """Write down the text of the settings in force. Blocks; trouble is told to the log alone."""
    path = config.storage.folder / NAME
    try:
        fresh = path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        log.warning("%s could not be written: %s", path, error.strerror)


def last_applied(config: Config, path: Path) -> Config | None:
    """Return the settings that were last in force, read from where config.toml lies now. Blocks.

    None where nothing is kept, or what is kept belongs to another version.
    """
    try:
        text = (config.storage.folder / NAME).read_text(encoding="utf-8")
        return parse_config(text, path)
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


def differences(fresh: Config, current: Config) -> tuple[str, ...]:
    """Name every setting that two configurations have differently, one line each."""
    needs_restart = set(restart_keys(fresh, current))
    lines = []
    for place, old, new in _changes(_plain(current), _plain(fresh), ()):
        late = any(place[: len(key)] == key[: len(place)] for key in needs_restart)
        restart = f" ({tr('needs a restart')})" if late else ""
        lines.append(f"{key_name(place)}: {_shown(old)} → {_shown(new)}{restart}")
    return tuple(lines)


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _changes(
    old: Mapping[str, Any], new: Mapping[str, Any], at: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changes(before, after, (*at, key))
        elif before != after:
            yield (*at, key), before, after


def _shown(value: object) -> str:
    if value is None:
        return tr("nothing")
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
