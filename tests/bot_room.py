"""The whole bot in one process with a playground: what the end-to-end tests share.

Promises real sockets, the real client and a real store on disk; only the engine is the tests' own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.app import App
from bot.config import Config, parse_config
from bot.playground import (
    InteractionState,
    Ledger,
    MessageRecord,
    Playground,
    PlayInteraction,
    RateLimits,
    aim,
)
from diffusion import ModelInfo
from storage import Job, Store
from tests.bot_desk import delivered
from tests.fakes import FakeEngine, model_info
from tests.test_bot_playground_support import the_judge

GUILDS_SECONDS = 0.02
QUICK = "[delivery]\nedit_seconds = 1\n[storage]\nmin_free_gib = 0\n"


@dataclass(kw_only=True)
class Room:
    """A playground, and where the bot keeps its things."""

    pg: Playground
    folder: Path
    engine: FakeEngine
    current: App | None = None

    @property
    def app(self) -> App:
        """The bot that runs now."""
        assert self.current is not None
        return self.current

    @asynccontextmanager
    async def bot(
        self, toml: str = QUICK, models: Mapping[str, ModelInfo] | None = None
    ) -> AsyncIterator[App]:
        """Run the bot until the block ends; its own failure fails the block."""
        config = parse_config(toml, self.folder / "config.toml")
        store = await Store.open(self.folder / "data")
        try:
            async with self.running(config, store, models or {"emoji": model_info()}) as app:
                yield app
        finally:
            await store.close()

    @asynccontextmanager
    async def running(
        self, config: Config, store: Store, models: Mapping[str, ModelInfo]
    ) -> AsyncIterator[App]:
        """Run the bot on an open store."""
        app = App(config=config, store=store, engine=self.engine, models=models)
        # The playground sends its guilds at once; discord.py waits so long for one more.
        vars(app.client._connection)["guild_ready_timeout"] = GUILDS_SECONDS
        self.current = app
        # Tests press faster than anybody; those about just that set it back.
        app.services.repeated.seconds = 0
        async with app:
            task = asyncio.create_task(app.run(self.pg.token))
            ready = asyncio.create_task(app.ready.wait())
            try:
                await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    await task
                await self.pg.ready()
                yield app
            finally:
                ready.cancel()
                await app.stop()
                await task

    async def imagine(self, who: str = "alice", prompt: str = "a red heart") -> PlayInteraction:
        """Type /imagine and wait for the acknowledgement."""
        ix = await self.pg.slash(who, "imagine", {"prompt": prompt})
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        return ix

    def answer(self, ix: PlayInteraction) -> MessageRecord:
        """Return the message that answered an interaction."""
        assert ix.message_id is not None
        return self.pg.ledger.messages[ix.message_id]

    async def result_of(self, ix: PlayInteraction, timeout: float = 8) -> MessageRecord:  # noqa: ASYNC109
        """Wait until the message of an interaction has become a picture with buttons."""
        found: MessageRecord = await self.pg.wait(
            lambda ledger: finished(ledger, ix.message_id), timeout=timeout
        )
        return found

    async def grid(self, who: str = "alice", prompt: str = "a red heart") -> MessageRecord:
        """Paint a grid."""
        return await self.result_of(await self.imagine(who, prompt))

    async def find(
        self, look: Callable[[Ledger], MessageRecord | None], *, seconds: float = 8
    ) -> MessageRecord:
        """Wait until the ledger shows a message."""
        found: MessageRecord = await self.pg.wait(look, timeout=seconds)
        return found

    async def shown(
        self, ix: PlayInteraction, look: Callable[[MessageRecord], object]
    ) -> MessageRecord:
        """Wait until the answer to an interaction looks as wanted."""

        def found(ledger: Ledger) -> MessageRecord | None:
            message = ledger.messages.get(ix.message_id or 0)
            return message if message is not None and look(message) else None

        return await self.find(found)

    async def settled(self, app: App) -> None:
        """Wait until everything painted is posted and recorded."""
        await delivered(app.services.poster)

    async def press(
        self, who: str, message: MessageRecord, action: str, index: int = 0
    ) -> PlayInteraction:
        """Press a button and wait until the press was answered."""
        wanted = [each for each in message.custom_ids if each.startswith(f"v1:{action}:")]
        custom_id = next(each for each in wanted if not index or each.endswith(f":{index}"))
        ix = await self.pg.press(who, message.id, custom_id)
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        return ix


def finished(ledger: Ledger, message_id: int | None) -> MessageRecord | None:
    """Return a message if it carries a finished picture."""
    message = ledger.messages.get(message_id or 0)
    if message is None or not message.attachments:
        return None
    name = str(message.attachments[0]["filename"])
    return message if name.startswith("easel-") else None


def results(ledger: Ledger) -> list[MessageRecord]:
    """Return the messages that carry a finished picture."""
    return [each for each in ledger.messages.values() if finished(ledger, each.id)]


def job_id(message: MessageRecord) -> str:
    """Return the job whose buttons a message has."""
    return message.custom_ids[0].split(":")[2]


async def job_of(app: App, message: MessageRecord) -> Job:
    """Return the job whose buttons a message has."""
    job = await app.services.store.job(job_id(message))
    assert job is not None
    return job


@asynccontextmanager
async def open_room(folder: Path, *, guilds: int = 1) -> AsyncIterator[Room]:
    """Open a playground without rate limits, and judge all that was said at the end."""
    async with Playground(rate_limits=RateLimits(enabled=False), guilds=guilds) as pg:
        undo = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        try:
            yield Room(pg=pg, folder=folder, engine=FakeEngine())
        finally:
            undo()
        the_judge().check(pg.ledger.requests)
        assert not pg.ledger.unknown
