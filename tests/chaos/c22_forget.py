"""C22: the bot dies while it forgets somebody; it forgot nothing, or goes on with it by itself.

Killed at every point between the press and the last deleted message, in turn. Whoever was forgotten
leaves no byte of their words and no message; whoever was not yet has everything, and may ask again.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playground import MessageRecord, Playground, RateLimits
from bot.removing import Remover
from storage import Forgotten, forgetting
from storage.database import Database
from storage.files import PictureFiles
from tests.chaos.bots import Nursery, stopped
from tests.chaos.oracle import examined, shown
from tests.chaos.suite import Run, Suite

# Before it is certain, and after it.
BEFORE = ("forget_begins:1", "forget_uncommitted:1")
AFTER = (
    "forget_committed:1",
    "forget_a_file:1",
    "forget_a_file:3",
    "forget_log:1",
    "forget_done:1",
    "forget_message:1",
    "forget_message_gone:1",
    "forget_message:2",
    "forget_message_gone:2",
)
POINTS = BEFORE + AFTER
ROUND = len(POINTS)


async def run(run: Run) -> None:
    """Kill at one point after the other, several rounds long."""
    async with Nursery() as nursery:
        while run.done < run.count:
            folder = run.folder / str(run.done)
            folder.mkdir()
            async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
                for point in islice(POINTS, run.count - run.done):
                    await _fault(run, nursery, pg, folder, point)
                    run.passed()
                    if run.failures:
                        return


async def _fault(run: Run, nursery: Nursery, pg: Playground, folder: Path, point: str) -> None:
    words = {who: f"needle{who}{run.done}x" for who in ("alice", "bob")}
    wishes = {"crash": point, "prepare": "tests.chaos.c22_forget:with_points"}
    pictures: list[MessageRecord] = []
    async with nursery.bot(pg, folder, **wishes) as process:
        for who in ("alice", "alice", "bob"):
            pictures.append(await _paint(pg, who, words[who]))
        question = await pg.slash("alice", "forget-me", {})
        await question.acknowledged
        button = _question(pg, question.message_id)
        asking = asyncio.create_task(_press(pg, button))
        code = await asyncio.wait_for(process.wait(), 20)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        run.must(code == -9, f"{point} was never passed: the bot ended with {code}")
    has = searched(folder, words)
    run.must("bob" in has, f"{point}: somebody else's words are gone")
    if point in BEFORE:
        run.must("alice" in has, f"{point}: words are gone before the forgetting was certain")
    async with nursery.bot(pg, folder) as process:
        if point in BEFORE:
            run.must(all(each.deleted_at is None for each in pictures), f"{point}: half done")
            await _press(pg, button)
        mine = {each.id for each in pictures[:2]}
        await pg.wait(
            lambda ledger: all(ledger.messages[each].deleted_at is not None for each in mine),
            timeout=20,
        )
        run.must(pictures[2].deleted_at is None, f"{point}: somebody else's message was deleted")
        await stopped(process)
    has = searched(folder, words)
    run.must(has == {"bob"}, f"{point}: words of {sorted(has)} are left, and only bob's may be")
    run.add("bytes left", int("alice" in has))
    jobs = await examined(run, folder)
    own = [job for job in jobs if job.requester_id == pg.people["alice"].id]
    run.must(not own, f"{point}: {len(own)} rows still name the person")
    kept = [job for job in jobs if words["bob"] in job.prompt]
    run.must(len(kept) == 1 and kept[0].id in shown(pg), f"{point}: somebody else's job is gone")


async def _paint(pg: Playground, who: str, words: str) -> MessageRecord:
    ix = await pg.slash(who, "imagine", {"prompt": f"{words} --steps 1"})
    await ix.acknowledged

    def posted(_: object) -> MessageRecord | None:
        found = [each for group in shown(pg).values() for each in group]
        return next((each for each in found if each.id == ix.message_id), None)

    done: MessageRecord = await pg.wait(posted, timeout=20)
    return done


def _question(pg: Playground, message_id: int | None) -> MessageRecord:
    return pg.ledger.messages[message_id or 0]


async def _press(pg: Playground, question: MessageRecord) -> None:
    ix = await pg.press("alice", question.id, "v1:forget:yes")
    await ix.acknowledged


def searched(folder: Path, words: dict[str, str]) -> set[str]:
    """Return whose words stand in any file of the bot's: data, logs, whatever else is there."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes().lower()
            found |= {who for who, text in words.items() if text.encode() in data}
    return found


def with_points(engine: object, wishes: dict[str, Any]) -> None:
    """Put points into what forgets; called in the child before the bot starts."""
    del engine
    crash: Callable[[str], None] = wishes["crash"]
    is_forgetting = False
    forget, remove, empty = forgetting.forget, PictureFiles.remove, Database.empty_log
    delete = Remover._remove

    async def in_transaction(
        connection: AsyncConnection, user_id: int, *, now: datetime, until: int | None = None
    ) -> tuple[Forgotten, set[str]]:
        nonlocal is_forgetting
        crash("forget_begins")
        is_forgetting = True
        done = await forget(connection, user_id, now=now, until=until)
        crash("forget_uncommitted")
        return done

    def one_by_one(self: PictureFiles, names: Iterable[str]) -> None:
        if is_forgetting:
            crash("forget_committed")
        for name in sorted(names):
            remove(self, [name])
            if is_forgetting:
                crash("forget_a_file")

    async def emptied(self: Database) -> bool:
        if is_forgetting:
            crash("forget_log")
        done = await empty(self)
        if is_forgetting:
            crash("forget_done")
        return done

    async def deleted(self: Remover, channel_id: int, message_id: int) -> bool | None:
        crash("forget_message")
        talk = self._services.talk
        away = talk.delete

        async def gone(*where: int) -> None:
            await away(*where)
            crash("forget_message_gone")

        vars(talk)["delete"] = gone
        try:
            return await delete(self, channel_id, message_id)
        finally:
            del vars(talk)["delete"]

    vars(forgetting)["forget"] = in_transaction
    type.__setattr__(PictureFiles, "remove", one_by_one)
    type.__setattr__(Database, "empty_log", emptied)
    type.__setattr__(Remover, "_remove", deleted)


SUITE = Suite(name="C22", about="killed while somebody is forgotten", commit=11, night=220, run=run)
