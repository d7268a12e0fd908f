"""Every point at which a process may die: those the bot names itself, and those put in here.

Promises that each is passed where its name says, in the product's own code, and that nothing but
the counting is added there. Used in the child alone.
"""

import functools
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, event

import bot.care
import storage.backups
import storage.migrate
import storage.posting
import storage.queue
import storage.recovery
import storage.retention
from bot.sequels import Sequels
from storage import Store
from storage.files import PictureFiles, flush_folder
from tests.fakes import FakeEngine

Crash = Callable[[str], None]
Given = ParamSpec("Given")
Result = TypeVar("Result")

# While a job is worked on: named by the bot, and then those of files, rows and the last word.
WORK = (
    "accepted",
    "answered",
    "noted",
    "acknowledged",
    "after_claim",
    "step",
    "half_file",
    "after_file",
    "in_row",
    "after_rendered",
    "after_begin_post",
    "after_send",
    "after_posted",
    "after_finish",
)
# While a start takes up what was left, or brings the database up to its version.
START = ("in_recover", "after_recover", "migrating")
CANCEL = ("in_cancel", "after_cancel")
DELETE = ("in_delete", "before_remove", "after_remove")
BACKUP = ("in_backup", "before_rename", "after_rename")
STOP = ("releasing", "released", "before_mark", "after_mark")


def prepare(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Put the points in."""
    del engine
    crash: Crash = wishes["crash"]
    _files(crash)
    _start(crash)
    _backup(crash)
    _around(storage.posting, "rendered", crash, before="after_file", after="in_row")
    _around(storage.queue, "cancel", crash, after="in_cancel")
    _around(storage.retention, "delete_pictures", crash, after="in_delete")
    _around(Store, "cancel", crash, after="after_cancel")
    _around(Store, "release", crash, before="releasing", after="released")
    _around(Store, "mark_clean_stop", crash, before="before_mark", after="after_mark")
    _around(Sequels, "copy_home", crash, after="after_finish")


def _around(where: object, name: str, crash: Crash, *, before: str = "", after: str = "") -> None:
    """Let a coroutine function pass points as it begins and as it ends."""
    setattr(where, name, _passing(getattr(where, name), crash, before, after))


def _passing(
    plain: Callable[Given, Awaitable[Result]], crash: Crash, before: str, after: str
) -> Callable[Given, Awaitable[Result]]:
    @functools.wraps(plain)
    async def passing(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        if before:
            crash(before)
        result = await plain(*args, **kwargs)
        if after:
            crash(after)
        return result

    return passing


def _files(crash: Crash) -> None:
    write_one, remove = PictureFiles._write_one, PictureFiles.remove
    replace = Path.replace

    def arriving(self: Path, target: Path) -> Path:
        # The file is whole, but not yet where a row may name it.
        crash("half_file")
        return replace(self, target)

    def written(self: PictureFiles, data: bytes, target: Path) -> None:
        # For the length of one write only: others rename files too.
        setattr(Path, "replace", arriving)  # noqa: B010 - mypy takes no assignment to a method
        try:
            write_one(self, data, target)
        finally:
            setattr(Path, "replace", replace)  # noqa: B010

    def removing(self: PictureFiles, names: Iterable[str]) -> None:
        given = list(names)
        if given:
            crash("before_remove")
        remove(self, given)
        if given:
            crash("after_remove")

    setattr(PictureFiles, "_write_one", written)  # noqa: B010
    setattr(PictureFiles, "remove", removing)  # noqa: B010


def _start(crash: Crash) -> None:
    _around(storage.recovery, "move", crash, after="in_recover")
    _around(Store, "recover", crash, after="after_recover")
    migrate = storage.migrate.migrate

    def migrating(connection: Connection, revision: str = "head") -> None:
        event.listen(connection, "before_cursor_execute", lambda *_: crash("migrating"))
        migrate(connection, revision)

    setattr(storage.migrate, "migrate", migrating)  # noqa: B010


def _backup(crash: Crash) -> None:
    # The first one is made at once; a start has nothing better to do here.
    setattr(bot.care, "FIRST_PAUSE", 0.0)  # noqa: B010 - it is final
    copy, flush, folder = storage.backups._copy, storage.backups.flush, flush_folder

    def copying(source: Path, target: Path, is_stopping: Callable[[], bool]) -> None:
        def passing() -> bool:
            crash("in_backup")
            return is_stopping()

        copy(source, target, passing)

    def flushing(path: Path) -> None:
        crash("before_rename")
        flush(path)

    def flushing_folder(path: Path) -> None:
        crash("after_rename")
        folder(path)

    vars(storage.backups).update(_copy=copying, flush=flushing, flush_folder=flushing_folder)
