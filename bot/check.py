"""`easel check`: everything a start needs, looked at one by one without starting.

Promises to report every fault it finds, not only the first, to name what the file would change of
the settings last in force, to do so also beside a bot that runs, and to change nothing but a
database that is behind this version.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.applied import differences, last_applied
from bot.backups_cli import newest_told
from bot.config import Config
from bot.exits import Exit
from bot.loading import describe_models, load_engine, read_config, read_token
from bot.trusted_addons import look_over
from diffusion import DiffusionError
from storage import StorageError, Store, StoreLocked, free_bytes, look_beside

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    subject: str
    text: str
    good: bool


async def check(path: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Look at configuration, token, models, device and database; the order is that of a start."""
    try:
        config = read_config(path)
    except Exit as error:
        return [Finding(subject="config", text=str(error), good=False)]
    findings = [Finding(subject="config", text=f"{path} is complete and valid", good=True)]
    findings += await asyncio.to_thread(_changes, config, path)
    parts: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
        ("token", lambda: _token(config, environment)),
        ("models", lambda: _models(config)),
        ("beside", lambda: asyncio.to_thread(_beside, config)),
        ("device", lambda: _device(config)),
        ("database", lambda: _database(config)),
        ("backups", lambda: asyncio.to_thread(newest_told, config.storage)),
    )
    for subject, look in parts:
        try:
            if text := await look():
                findings.append(Finding(subject=subject, text=text, good=True))
        except (Exit, StorageError) as error:
            findings.append(Finding(subject=subject, text=str(error), good=False))
    return findings


def _changes(config: Config, path: Path) -> list[Finding]:
    """Say what this file would change of the settings that were last in force."""
    before = last_applied(config, path)
    if before is None:
        return []
    changes = differences(config, before)
    if not changes:
        return [Finding(subject="changes", text="none since it was last applied", good=True)]
    lines = "".join(f"\n     {line}" for line in changes)
    return [Finding(subject="changes", text=f"of what was last applied:{lines}", good=True)]


async def _token(config: Config, environment: Mapping[str, str]) -> str:
    read_token(config, environment)
    return "there is one, and it has the shape of one (Discord was not asked)"


async def _models(config: Config) -> str:
    found = describe_models(config)
    load_engine(config)
    return ", ".join(
        f"{alias} ({info.family}, {info.native_width}x{info.native_height}, {info.path})"
        for alias, info in found.items()
    )


def _beside(config: Config) -> str:
    """Read all that lies beside the models in full; nothing to say where nothing does."""
    try:
        found = look_over(config, thorough=True)
    except DiffusionError as error:
        raise Exit(str(error)) from error
    if found.changed:
        raise Exit("\n     ".join(found.changed))
    if not found.good and not found.fresh:
        return ""
    return (
        f"of the files beside the models {found.good} are as they were trusted, and {found.fresh} "
        "are trusted when they are first used"
    )


async def _device(config: Config) -> str:
    from diffusion.device import choose_device

    try:
        return choose_device(config.engine.device, config.engine.dtype).description
    except DiffusionError as error:
        raise Exit(str(error)) from error


async def _database(config: Config) -> str:
    folder = config.storage.folder
    try:
        async with await Store.open(folder) as store:
            jobs, how = await store.check(), "opens"
    except StoreLocked as error:
        # An edit of the configuration is looked at before the bot that runs takes it up.
        jobs = await asyncio.to_thread(look_beside, folder)
        how = f"is in use by a bot that runs (process {error.holder})"
    free = await asyncio.to_thread(free_bytes, folder) / GIB
    if free < config.storage.min_free_gib:
        raise Exit(
            f"{folder} has {free:.1f} GiB free, below [storage] min_free_gib, which "
            f"is {config.storage.min_free_gib:g}: new jobs would be refused. Free some space."
        )
    return f"{folder} {how} and is sound: {jobs} jobs with their seals intact, {free:.0f} GiB free"
