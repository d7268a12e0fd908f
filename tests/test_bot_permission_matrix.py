"""Who may do what to whose pictures, where: all 196 cells of the matrix, through real presses.

The table is the truth. Its columns are U, V, 🔄, 🗑️ (the press that deletes), Cancel, /history and
/forget-me; its rows are a person and a place, seen from a job of alice's in #easel of the first
guild. Every press is of a button that a message of the bot's really has there, as after a forward,
a /show or a forgery; every command is really typed there.

- `y`: it is done, and its effect is there.
- `n`: the sentence that only the requester or a moderator can, and no effect.
- `-`: as if there were no such job, and no effect.
- `o`: the person's own data are forgotten, and alice's job is still there.
- `x`: impossible through Discord, which the playground refuses as Discord's client does; for a
  press the rules are asked all the same, with what such an interaction could say at most.

A bot can press nothing at all on Discord, so of its rows only the rules are asked.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import discord
import pytest

from bot.app import App
from bot.cards import custom_id
from bot.config import parse_config
from bot.permissions import Action, Actor, Verdict, judge
from bot.playground import InteractionState, MessageRecord, PlayError, PlayInteraction
from storage import Job, JobState
from tests.bot_desk import after_writes
from tests.bot_room import QUICK, Room, job_of, open_room

TABLE = """
                            U V R D C H F
requester   same            y y y y y y y
requester   other channel   y y y y y y y
requester   other guild     y y y y y - y
requester   dm              y y y y y y y
other       same            y y y n n y o
other       other channel   y y y n n y o
other       other guild     - - - - - - o
other       dm              - - - - - - o
ex-member   same            x x x x x x x
ex-member   other channel   x x x x x x x
ex-member   other guild     - - - - - - o
ex-member   dm              - - - - - - o
moderator   same            y y y y y y o
moderator   other channel   y y y y y y o
moderator   other guild     - - - - - - o
moderator   dm              - - - - - - o
admin       same            y y y y y y o
admin       other channel   y y y y y y o
admin       other guild     - - - - - - o
admin       dm              - - - - - - o
bot         same            y y y n n x x
bot         other channel   y y y n n x x
bot         other guild     - - - - - x x
bot         dm              - - - - - x x
dm-user     same            x x x x x x x
dm-user     other channel   x x x x x x x
dm-user     other guild     x x x x x x x
dm-user     dm              - - - - - - o
"""
PRESSES = {
    "U": Action.UPSCALE,
    "V": Action.VARY,
    "R": Action.REROLL,
    "D": Action.DELETE_SURE,
    "C": Action.CANCEL,
}
COMMANDS = "HF"
SIGNS = {Verdict.YES: "y", Verdict.NOT_YOURS: "n", Verdict.FOREIGN: "-"}
WHO = {
    "requester": "alice",
    "other": "bob",
    "ex-member": "bob",
    "moderator": "carol",
    "admin": "bob",
    "dm-user": "bob",
}


def cells() -> dict[tuple[str, str], dict[str, str]]:
    """Read the table: person and place, then column, then sign."""
    lines = TABLE.strip("\n").splitlines()
    columns = lines[0].split()
    return {
        (line[:12].strip(), line[12:28].strip()): dict(zip(columns, line[28:].split(), strict=True))
        for line in lines[1:]
    }


CELLS = cells()


def test_the_table_has_all_cells() -> None:
    people = {who for who, _ in CELLS}
    places = {place for _, place in CELLS}
    assert (len(people), len(places)) == (7, 4)
    assert sum(map(len, CELLS.values())) == 196
    assert {sign for row in CELLS.values() for sign in row.values()} == set("yn-ox")


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path, guilds=2) as opened:
        yield opened


def channel_of(room: Room, place: str, who: str) -> int:
    lounge = next(iter(room.pg.guilds[1].channels.values()))
    return {
        "same": room.pg.channels["easel"],
        "other channel": room.pg.channels["gallery"],
        "other guild": lounge,
        "dm": room.pg.direct_messages(who),
    }[place]


@asynccontextmanager
async def acting(room: Room, app: App, person: str) -> AsyncIterator[str]:
    """Let somebody be who the row says until the block ends."""
    who, (first, second) = WHO[person], room.pg.guilds
    if person == "admin":
        admins = f"[moderation]\nadmins = [{room.pg.people[who].id}]\n"
        app.apply_config(parse_config(QUICK + admins, room.folder / "config.toml"))
    if person == "moderator":
        # A moderator here and there: that they are one elsewhere must not help.
        room.pg.join(who, guild_id=second.id)
        room.pg.give_role(who, "Moderators", guild_id=second.id)
    left = {"ex-member": (first,), "dm-user": (first, second)}.get(person, ())
    for guild in left:
        room.pg.leave(who, guild_id=guild.id)
    try:
        yield who
    finally:
        for guild in left:
            room.pg.join(who, guild_id=guild.id)
        if person == "moderator":
            room.pg.leave(who, guild_id=second.id)
        app.apply_config(parse_config(QUICK, room.folder / "config.toml"))


async def forged(room: Room, channel_id: int, state: str) -> MessageRecord:
    """Make a message of the bot's with one button."""
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="x", custom_id=state))
    view.stop()
    channel = room.app.client.get_partial_messageable(channel_id)
    sent = await channel.send("forged", view=view)
    return room.pg.ledger.messages[sent.id]


async def sentence(room: Room, ix: PlayInteraction) -> str:
    """Wait for the answer to an interaction, whatever it is; return what it says."""
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED

    def found(_: object) -> MessageRecord | None:
        ids = [*ix.followups, ix.message_id]
        shown = [room.pg.ledger.messages.get(each or 0) for each in ids]
        there = [each for each in shown if each is not None and not each.loading]
        return there[0] if there else None

    return (await room.find(found)).content


def sign_of(text: str) -> str:
    if "There is no job" in text:
        return "-"
    return "n" if "Only the person who asked" in text else "y"


def is_over(job: Job) -> bool:
    """Tell whether a job was deleted, cancelled or forgotten."""
    return job.deleted_at is not None or job.state is JobState.CANCELLED or not job.prompt


class Board:
    """Alice's job that the cells of one column are about; a new one where it is used up."""

    def __init__(self, room: Room, app: App, *, running: bool = False) -> None:
        self.room = room
        self.app = app
        self.running = running
        self._job: Job | None = None

    async def job(self) -> Job:
        store = self.app.services.store
        if self._job is not None:
            fresh = await store.job(self._job.id)
            if fresh is not None and not is_over(fresh):
                return fresh
        if self.running:
            ix = await self.room.imagine("alice", "a slow heart")
            self._job = await job_of(self.app, self.room.answer(ix))
        else:
            grid = await self.room.grid("alice", "a heart")
            await self.room.settled(self.app)
            self._job = await job_of(self.app, grid)
        return self._job


async def press(board: Board, action: Action, person: str, place: str) -> str:
    """Press as somebody, somewhere; return the cell's sign once the effect was looked at."""
    room, store = board.room, board.app.services.store
    job = await board.job()
    index = 1 if action in (Action.UPSCALE, Action.VARY) else 0
    channel_id = channel_of(room, place, WHO[person])
    message = await forged(room, channel_id, custom_id(action, job.id, index))
    before = len(await store.children(job.id))

    async def is_done() -> bool:
        fresh = await store.job(job.id)
        if action in (Action.DELETE_SURE, Action.CANCEL):
            return fresh is None or is_over(fresh)
        return len(await store.children(job.id)) > before

    async with acting(room, board.app, person) as who:
        try:
            ix = await room.pg.press(who, message.id, message.custom_ids[0])
        except PlayError:
            assert rules(action, job, person=person, guild_id=None) == "-"
            return "x"
        sign = sign_of(await sentence(room, ix))
        if sign == "y":
            await after_writes(store, is_done)
        await room.settled(board.app)
    assert await is_done() is (sign == "y")
    return sign


def rules(action: Action, job: Job, *, person: str, guild_id: int | None) -> str:
    """Ask the rules alone."""
    actor = Actor(
        user_id=-1 if person != "requester" else job.requester_id,
        guild_id=guild_id,
        manage_messages=False,
    )
    return SIGNS[
        judge(action, actor, requester_id=job.requester_id, guild_id=job.guild_id, press="anyone")
    ]


def by_the_rules(board_job: Job, room: Room, action: Action, place: str) -> str:
    """Ask the rules about the bot's own account, which cannot press."""
    here, there = (guild.id for guild in room.pg.guilds)
    guild_id = {"same": here, "other channel": here, "other guild": there, "dm": None}[place]
    actor = Actor(user_id=room.pg.world.bot.id, guild_id=guild_id, manage_messages=False)
    job = board_job
    return SIGNS[
        judge(action, actor, requester_id=job.requester_id, guild_id=job.guild_id, press="anyone")
    ]


@pytest.mark.parametrize("column", PRESSES)
async def test_presses(room: Room, column: str) -> None:
    action = PRESSES[column]
    async with room.bot() as app:
        gate = room.engine.hold(2, word="slow")
        board = Board(room, app, running=action is Action.CANCEL)
        found = {}
        for person, place in CELLS:
            if person == "bot":
                sign = by_the_rules(await board.job(), room, action, place)
            else:
                sign = await press(board, action, person, place)
            found[person, place] = sign
        gate.open.set()
        await room.pg.wait(lambda _: not app.services.worker.running, timeout=10)
        await room.settled(app)
    assert found == {key: row[column] for key, row in CELLS.items()}


async def history(board: Board, who: str, channel_id: int) -> str:
    """Look for alice's job in her history, as somebody, somewhere."""
    room, job = board.room, await board.job()
    options = {"user": str(room.pg.people["alice"].id)}
    ix = await room.pg.slash(who, "history", options, channel_id=channel_id)
    return "y" if job.id in await sentence(room, ix) else "-"


async def forget(board: Board, who: str, channel_id: int) -> str:
    """Be forgotten as somebody, somewhere; look whether alice's job is still there."""
    room, job = board.room, await board.job()
    ix = await room.pg.slash(who, "forget-me", channel_id=channel_id)
    await sentence(room, ix)
    asked = room.answer(ix)
    sure = await room.pg.press(who, asked.id, asked.custom_ids[0])
    assert await sure.acknowledged is InteractionState.ACKNOWLEDGED
    await room.pg.wait(lambda _: not asked.custom_ids)
    left = await board.app.services.store.job(job.id)
    return "o" if left is not None and left.prompt else "y"


@pytest.mark.parametrize("column", COMMANDS)
async def test_commands(room: Room, column: str) -> None:
    run = {"H": history, "F": forget}[column]
    async with room.bot() as app:
        board = Board(room, app)
        found = {}
        for person, place in CELLS:
            if person == "bot":
                # No bot can use a command: there is nobody to type it as.
                found[person, place] = "x"
                continue
            await board.job()
            async with acting(room, app, person) as who:
                try:
                    found[person, place] = await run(board, who, channel_of(room, place, who))
                except PlayError:
                    found[person, place] = "x"
        await room.settled(app)
    assert found == {key: row[column] for key, row in CELLS.items()}
