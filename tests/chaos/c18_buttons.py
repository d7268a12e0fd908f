"""C18: buttons from before a restart, of an upgrade, of a deleted job, and forged ones.

Every press must be answered within Discord's three seconds; what is forged must change nothing. For
each press that is counted some forged ones go along, ten of them at the night scale.
"""

import asyncio
from collections.abc import Sequence
from importlib import import_module
from random import Random
from typing import Final

import discord

from bot.playground import InteractionState, Playground, PlayInteraction
from storage import FINAL_STATES
from tests.bot_room import Room, job_id
from tests.chaos import rooms
from tests.chaos.suite import Run, Suite

# A message's id and a custom_id in it.
Button = tuple[int, str]
MOST_BUTTONS: Final = 25
GRIDS: Final = 4
BATCH: Final = 10
FORGED_EACH: Final = {"commit": 2, "night": 10}
# What stands in messages that are out in the world: written down, never computed, and never to be
# changed. `{job}` is a job's id.
OF_TODAY: Final = (
    *(f"v1:upscale:{{job}}:{tile}" for tile in range(1, 5)),
    *(f"v1:vary:{{job}}:{tile}" for tile in range(1, 5)),
    "v1:reroll:{job}:0",
    "v1:info:{job}:0",
    "v1:cancel:{job}:0",
    "v1:keep:{job}:1",
    "v1:fav:{job}:1",
    "v1:report:{job}:0",
    "v1:go:{job}:0",
    "v1:up2s:{job}:1",
    "v1:up2c:{job}:1",
    "v1:up4:{job}:1",
    "v1:vsub:{job}:1",
    "v1:vstr:{job}:1",
    "v1:region:{job}:1",
    "v1:zoom15:{job}:1",
    "v1:zoom2:{job}:1",
    "v1:zoomc:{job}:1",
    "v1:panl:{job}:1",
    "v1:panr:{job}:1",
    "v1:panu:{job}:1",
    "v1:pand:{job}:1",
    "v1:square:{job}:1",
    "v1:remix:{job}:1",
    "v1:delete:{job}:0",
    "v1:names:{job}:1",
    "v1:proof:{job}:1",
)
# These are about no job, and what they were about may be long gone.
OTHERS: Final = (
    "v1:page:0:0:",
    "v1:help:",
    "v1:list:models:0:",
    "v1:fix:aaaaaaaaaaaaa:0",
    "v1:perm:aaaaaaaaaaaaa:0",
    "v1:take:aaaaaaaaaaaaa:1",
    "v1:idea:aaaaaaaaaaaaa:0",
    "v1:think:aaaaaaaaaaaaa:0",
)
STRANGE: Final = ("v2:info:aaaaaaaaaaaaa:0", "v0:info:", "v17:later", "v99:", "info:1", "x", "V1:")
UNKNOWN: Final = "I do not know this button"
WRONG: Final = "Something went wrong that should not"
ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
SIGNS: Final = ":/.\\ -'\"%$\x00\n\u202e\u200b\U0001f3a8ａ٣" + ALPHABET + "V1"


async def run(run: Run) -> None:
    """Make jobs, restart, and press; then delete some of the jobs and press on."""
    # The real engine has it loaded before the bot connects; the tests' engine needs none.
    await asyncio.to_thread(import_module, "torch")
    async with rooms.room(run) as room:
        async with room.bot(rooms.SETTINGS):
            grids = [await room.grid("alice", f"a fox --seed {n} --steps 1") for n in range(GRIDS)]
            jobs = [job_id(grid) for grid in grids]
            buttons = [
                each
                for job in jobs
                for each in await with_buttons(room, [id_.format(job=job) for id_ in OF_TODAY])
            ]
            buttons += await with_buttons(room, [*OTHERS, *STRANGE])
        # The process that wrote the buttons is gone.
        async with room.bot(rooms.SETTINGS) as app:
            chance = run.random()
            await press_all(run, room, buttons, chance, until=run.count // 2)
            for job in jobs[::2]:
                await with_press(run, room, "alice", f"v1:yes:{job}:0")
            await press_all(run, room, buttons, chance, until=run.count)
            await rooms.ended(app, room.pg)
            await forge_all(run, room, jobs, chance)
            await rooms.ended(app, room.pg)
            made = await rooms.all_jobs(app.services.store)
        run.must(len(made) > GRIDS, "no press of a button made a job")
        run.must(all(each.state in FINAL_STATES for each in made), "a job has no end")
        run.figures["jobs"] = len(made)


async def with_buttons(room: Room, ids: Sequence[str]) -> list[Button]:
    """Let the bot write messages with these buttons; return each with its message."""
    channel = room.app.client.get_partial_messageable(room.pg.channel_id)
    made: list[Button] = []
    for start in range(0, len(ids), MOST_BUTTONS):
        view = discord.ui.View(timeout=None)
        for each in ids[start : start + MOST_BUTTONS]:
            view.add_item(discord.ui.Button(label="x", custom_id=each))
        view.stop()
        sent = await channel.send("buttons", view=view)
        made += [(sent.id, each) for each in ids[start : start + MOST_BUTTONS]]
    return made


async def with_press(run: Run, room: Room, who: str, custom_id: str) -> None:
    """Write one button and press it."""
    ((message_id, _),) = await with_buttons(room, [custom_id])
    ix = await room.pg.press(who, message_id, custom_id)
    await answered(run, room.pg, custom_id, ix)


async def press_all(
    run: Run, room: Room, buttons: list[Button], chance: Random, *, until: int
) -> None:
    """Press old buttons, a few at once, until so many were answered."""
    plan: list[Button] = []
    while run.done < until:
        if not plan:
            plan = chance.sample(buttons, len(buttons))
        pressed = []
        few = min(BATCH, until - run.done, len(plan))
        for message_id, each in [plan.pop() for _ in range(few)]:
            who, where = chance.choice(("alice", "bob", "carol")), message_id
            if each not in room.pg.ledger.messages[where].custom_ids:
                # An earlier press turned the page: the same button, on a page that is there.
                ((where, _),) = await with_buttons(room, [each])
            pressed.append((each, await room.pg.press(who, where, each)))
        for each, ix in pressed:
            await answered(run, room.pg, each, ix)
            said = words(room.pg, ix)
            if each.startswith("v1:"):
                run.must(UNKNOWN not in said, f"{each!r} is not known any more")
            else:
                run.must(UNKNOWN in said, f"{each!r} was answered with {said!r}")
            run.passed()


async def forge_all(run: Run, room: Room, jobs: list[str], chance: Random) -> None:
    """Press what no version ever wrote, on messages that have it and on some that have not."""
    number = FORGED_EACH[run.scale] * run.count
    (bare, _), *_ = await with_buttons(room, ["v1:help:"])
    before = await state_of(room)
    done = 0
    while done < number:
        ids = list(dict.fromkeys(forged(chance, jobs) for _ in range(min(25, number - done))))
        done += len(ids)
        held = await with_buttons(room, ids[:-5])
        pressed = [(each, await room.pg.press("bob", where, each)) for where, each in held]
        pressed += [(each, room.pg.forge("bob", bare, each)) for each in ids[-5:]]
        for each, ix in pressed:
            await answered(run, room.pg, each, ix)
    run.figures["forged"] = done
    run.must(await state_of(room) == before, "a forged button changed something")


async def state_of(room: Room) -> tuple[object, ...]:
    """Return what a forged press could have changed."""
    messages = room.pg.ledger.messages.values()
    shown = [each.id for each in messages if each.attachments and each.deleted_at is None]
    return await room.app.services.store.counts(), len(room.engine.submitted), shown


def forged(chance: Random, jobs: list[str]) -> str:
    """Make up a custom_id that no version of the bot wrote."""
    action = chance.choice(("upscale", "vary", "delete", "yes", "cancel", "up4", "report", "remix"))
    stranger = "".join(chance.choices(ALPHABET, k=13))
    noise = "".join(chance.choices(SIGNS, k=chance.randrange(1, 60)))
    made = chance.choice(
        (
            f"v1:{action}:{stranger}:{chance.randrange(5)}",
            f"v1:{action}:{chance.choice(jobs)}:{chance.choice(('-1', '٣', '1e3', '', '9' * 30))}",
            f"v1:{action}:{chance.choice(jobs).upper()}:1",
            f"v1:{action}:{noise}",
            f"v1:{noise}:{chance.choice(jobs)}:1",
            f"v{chance.randrange(2, 1000)}:{action}:{chance.choice(jobs)}:1",
            f"v1:keep_job:{stranger}:0",
            noise,
        )
    )
    # As Discord would not take it: nothing, or space alone.
    return made[:100] if made.strip() else "v1:"


async def answered(run: Run, pg: Playground, custom_id: str, ix: PlayInteraction) -> None:
    """See that a press was answered in time, and not with an excuse."""
    state = await ix.acknowledged
    run.must(state is InteractionState.ACKNOWLEDGED, f"{custom_id!r}: this interaction failed")
    run.most("slowest answer seconds", ix.history[1].at - ix.history[0].at)
    run.must(WRONG not in words(pg, ix), f"{custom_id!r}: something went wrong")


def words(pg: Playground, ix: PlayInteraction) -> str:
    """Return what a press was answered with; a modal or an edit says nothing new."""
    message = pg.ledger.messages.get(ix.message_id or 0)
    return "" if message is None else message.content


SUITE = Suite(name="C18", about="buttons of before, forged ones", commit=100, night=1000, run=run)
