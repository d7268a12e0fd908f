"""`easel backup` and `easel restore`: a copy of what the bot remembers, and the way back to it.

Promises that a backup can be taken while the bot runs and that a restoring cannot, that the old
database is kept beside the restored one, and that everything which could not be brought back is
said. Both end with a sentence and a code of `bot.exits`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from bot.exits import Exit

if TYPE_CHECKING:
    from bot.config import StorageConfig
    from storage.backups import Backup
    from storage.restoring import Restored

LATEST: Final = "latest"
_SHOWN: Final = 10


def back_up(storage: "StorageConfig", to: Path | None) -> "Backup":
    """Take a backup now; with `to`, into that folder and with all pictures."""
    from bot.care import backup_folder
    from storage import StorageError
    from storage.backups import export, write
    from storage.opening import DATABASE, PICTURES

    source = storage.folder / DATABASE
    if not source.is_file():
        raise Exit(f"{storage.folder} holds no database yet; there is nothing to back up.")
    try:
        made = write(source, to or backup_folder(storage), now=datetime.now(UTC))
        if to is not None:
            export(made.path, storage.folder / PICTURES, to / PICTURES)
    except StorageError as error:
        raise Exit(str(error)) from error
    except OSError as error:
        raise Exit(f"{to} cannot be written: {error.strerror}.") from error
    return made


def bring_back(storage: "StorageConfig", which: str) -> Iterator[str]:
    """Restore a backup, and yield the sentences that say what was done."""
    from storage import StorageError
    from storage.restoring import restore

    backup, skipped = _choose(storage, which)
    yield from skipped
    try:
        done = restore(storage.folder, backup, now=datetime.now(UTC))
    except StorageError as error:
        raise Exit(str(error)) from error
    yield from _told(done)


def newest_told(storage: "StorageConfig") -> str:
    """Say how old the newest backup is, and what a restoring left to be deleted."""
    from bot.care import backup_folder
    from storage.backups import ASIDE, found

    folder = backup_folder(storage)
    backups = found(folder)
    aside = sorted(storage.folder.glob(f"{ASIDE}-*"))
    left = f"; {', '.join(each.name for each in aside)} waits to be deleted" if aside else ""
    if not backups:
        off = "" if storage.backup_hours else ", and backup_hours is 0: none will be taken"
        return f"none in {folder} yet{off}{left}"
    age = _span(datetime.now(UTC) - backups[0].made_at)
    return f"{len(backups)} in {folder}, the newest {age} old{left}"


def _choose(storage: "StorageConfig", which: str) -> tuple[Path, list[str]]:
    """Return the backup that is meant, and why newer ones were passed over."""
    from bot.care import backup_folder
    from storage import StorageError
    from storage.backups import found
    from storage.soundness import examine

    folder = backup_folder(storage)
    if which != LATEST:
        named = Path(which)
        return (named if named.exists() or named.parent != Path() else folder / named), []
    skipped = []
    for backup in found(folder):
        try:
            examine(backup.path, every_row=True)
        except StorageError as error:
            skipped.append(f"Passed over: {error}")
        else:
            return backup.path, skipped
    raise Exit(
        f"{folder} holds no sound backup. Name one: easel restore FILE; or begin anew with an "
        "empty folder. Nothing was changed."
    )


def _told(done: "Restored") -> Iterator[str]:
    yield (
        f"Restored {done.backup} of {done.made_at:%Y-%m-%d %H:%M:%S} UTC: {done.jobs} jobs, "
        f"{done.open_jobs} of them go on at the next start."
    )
    if done.aside is not None:
        yield (
            f"What was there before is in {done.aside}, with {done.moved_pictures} pictures that "
            "only it knew. Delete that folder once you miss nothing."
        )
    if done.lost is None:
        yield "What came after the backup is gone; the old database cannot say what that was."
    elif done.lost:
        yield f"{done.lost} jobs that came after the backup are gone."
    if done.missing:
        some = ", ".join(done.missing[:_SHOWN])
        more = f" and {len(done.missing) - _SHOWN} more" if len(done.missing) > _SHOWN else ""
        yield (
            f"Pictures are missing of {len(done.missing)} jobs ({some}{more}): ended ones show as "
            "deleted, open ones are painted again."
        )
    if done.forgotten:
        yield f"{done.forgotten} people who had themselves forgotten since were forgotten again."


def _span(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} minutes"
    hours = minutes // 60
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"


def backup(
    config: Annotated[Path, typer.Option("--config", help="The settings.")] = Path("config.toml"),
    to: Annotated[
        Path | None, typer.Option(help="Another folder: database and pictures go there.")
    ] = None,
) -> None:
    """Back the database up now, whether the bot runs or not; with --to, the pictures as well."""
    from bot.loading import read_config

    try:
        made = back_up(read_config(config).storage, to)
    except Exit as end:
        raise _end(end) from None
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{made.path}: {made.jobs} jobs, {made.size / 2**20:.1f} MiB, checked")


def restore(
    which: Annotated[
        str, typer.Argument(metavar="[BACKUP]", help="A backup's file, or: latest.")
    ] = LATEST,
    config: Annotated[Path, typer.Option("--config", help="The settings.")] = Path("config.toml"),
) -> None:
    """Put a backup in the place of the database, which is kept beside; the bot must be stopped."""
    from bot.loading import read_config

    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        for sentence in bring_back(read_config(config).storage, which):
            console.print(sentence)
    except Exit as end:
        raise _end(end) from None


def _end(end: Exit) -> typer.Exit:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(str(end))
    return typer.Exit(end.code)
