"""What the tests of the bot share: a desk with playground, store and voice; what was posted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import discord

from bot.cards import under_progress
from bot.config import Config, parse_config
from bot.health import Metrics
from bot.jobs import encode_grid
from bot.playground import Fault, MessageRecord, Playground, RateLimits, aim
from bot.poster import CrashPoint, Poster, no_crash
from bot.talk import Letter, Talk
from diffusion import ModelInfo, Params
from storage import Job, JobKind, NewJob, Store
from tests.fakes import model_info, paint

_T = TypeVar("_T")
MODELS: dict[str, ModelInfo] = {"emoji": model_info()}


def settings(text: str = "") -> Config:
    """Return the default settings, changed by some TOML."""
    return parse_config(text, Path("/nowhere/config.toml"))


def results(pg: Playground, job_id: str) -> list[MessageRecord]:
    """Return every message that shows a job's pictures now."""
    return [
        record
        for record in pg.ledger.messages.values()
        if record.deleted_at is None
        and any(str(item["filename"]).startswith(f"easel-{job_id}") for item in record.attachments)
    ]


def pings(pg: Playground, user_id: int) -> list[MessageRecord]:
    """Return the messages that pinged somebody."""
    return [
        record
        for record in pg.ledger.messages.values()
        if any(int(user["id"]) == user_id for user in record.data["mentions"])
    ]


@dataclass(slots=True, kw_only=True)
class Desk:
    """A bot's voice and memory at a playground, without a gateway, a worker or an engine."""

    pg: Playground
    store: Store
    talk: Talk

    def poster(self, *, config: Config | None = None, crash: CrashPoint = no_crash) -> Poster:
        """Make a poster that pauses briefly."""
        given = config or settings()
        return Poster(
            store=self.store,
            talk=self.talk,
            models=MODELS,
            settings=lambda: given,
            metrics=Metrics(),
            crash=crash,
            first_pause=0.01,
        )

    async def rendered(
        self,
        *,
        prompt: str = "a fox",
        seed: int = 7,
        progress: bool = True,
        channel_id: int | None = None,
    ) -> Job:
        """Bring a job of alice's as far as pictures on disk, with a progress message or without."""
        params = Params(prompt=prompt, seed=seed, steps=2, width=64, height=64)
        channel_id = channel_id or self.pg.channel_id
        dm = channel_id == self.pg.direct_messages("alice")
        new = NewJob(
            kind=JobKind.IMAGINE,
            params=params.to_json(),
            prompt=prompt,
            images=params.images,
            model=params.model,
            requester_id=self.pg.people["alice"].id,
            guild_id=None if dm else self.pg.guild_id,
            channel_id=channel_id,
            interaction_id=seed + 1,
        )
        job = (await self.store.enqueue(new)).job
        if progress:
            letter = Letter(content="waiting", view=under_progress(job))
            message_id = await self.talk.send(channel_id, letter, nonce=f"{job.id}p")
            await self.store.note_progress_message(
                job.id, channel_id=channel_id, message_id=message_id
            )
        claimed = await self.store.claim(job.id)
        if claimed is None:
            raise RuntimeError("a fresh job could not be claimed")
        pictures = tuple(paint(params, number) for number in range(params.images))
        encoded = await asyncio.to_thread(encode_grid, claimed, params, pictures, MODELS["emoji"])
        return await self.store.rendered(claimed, encoded, device_seconds=0.5)

    async def job(self, job_id: str) -> Job:
        """Read a job that exists."""
        found = await self.store.job(job_id)
        if found is None:
            raise LookupError(job_id)
        return found


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """Open a desk whose playground has no rate limits."""
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        restore = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        store = await Store.open(folder)
        client = discord.Client(
            intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none()
        )
        try:
            await client.login(pg.token)
            yield Desk(pg=pg, store=store, talk=Talk(client))
        finally:
            await client.close()
            await store.close()
            restore()


async def met(fault: Fault) -> None:
    """Wait until a request has run into a fault; the ledger only hears of its end."""
    async with asyncio.timeout(5):
        await fault.met.wait()


async def after_writes(
    store: Store, look: Callable[[], Awaitable[_T]], *, seconds: float = 8
) -> _T:
    """Wait until a look at a store finds something, looking again after each of its writes."""
    wrote = asyncio.Event()
    watchers = watchers_of(store)
    watchers.add(wrote)
    try:
        async with asyncio.timeout(seconds):
            while not (found := await look()):
                await wrote.wait()
                wrote.clear()
            return found
    finally:
        watchers.discard(wrote)


def watchers_of(store: Store) -> set[asyncio.Event]:
    """Return the events that are set after each of a store's writes; one may be added."""
    database: Any = store._database
    if not hasattr(database, "watchers"):
        database.watchers, write = set[asyncio.Event](), database._write

        async def noted(work: object) -> object:
            try:
                return await write(work)
            finally:
                for watcher in database.watchers:
                    watcher.set()

        database._write = noted
    found: set[asyncio.Event] = database.watchers
    return found


async def delivered(poster: Poster) -> None:
    """Wait until a poster has nothing left to post."""
    while poster.backlog:
        poster.changed.clear()
        await poster.changed.wait()
