"""The bot as a process beside a playground: started, stopped, killed, and read when it is gone.

Promises the real command line, client, store and sockets, with the tests' engine (`tests.child`).
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

from bot.playground import Playground
from storage import Job, Store
from storage.history import jobs_after

ROOT = Path(__file__).parents[2]
PAGE = 100
SETTINGS = "[storage]\nmin_free_gib = 0\n"


class Process(Protocol):
    """A bot's process; `returncode` is negative where a signal ended it."""

    @property
    def pid(self) -> int:
        """The process's id."""

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""

    def send_signal(self, signal: int, /) -> None:
        """Send a signal, if it still runs."""

    def kill(self) -> None:
        """Kill it as `kill -9` does."""

    async def wait(self) -> int:
        """Wait for its end, and return how it ended."""


def _wanted(
    pg: Playground, folder: Path, config: str, wishes: dict[str, object]
) -> tuple[list[str], dict[str, str]]:
    """Write the settings; return the arguments and the environment of a start."""
    path = folder / "config.toml"
    path.write_text(config, encoding="utf-8")
    addresses = {"api": pg.api_base, "gateway": pg.gateway_url, "cdn": pg.cdn_base}
    given = {"DISCORD_TOKEN": pg.token, "EASEL_TEST": json.dumps({**addresses, **wishes})}
    return ["run", "--config", str(path)], given


async def start(
    pg: Playground, folder: Path, *, config: str = SETTINGS, **wishes: object
) -> asyncio.subprocess.Process:
    """Start the bot as a process, with its data in the folder; `wishes` are those of the child."""
    arguments, given = _wanted(pg, folder, config, wishes)
    with (folder / "bot.log").open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.child",
            *arguments,
            cwd=ROOT,
            env={**os.environ, **given},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stream,
        )


@asynccontextmanager
async def bot(
    pg: Playground, folder: Path, *, config: str = SETTINGS, **wishes: object
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the bot as a process that is connected; it is gone on return."""
    seen = connects(pg)
    process = await start(pg, folder, config=config, **wishes)
    try:
        await connected(pg, seen)
        yield process
    finally:
        await ended(process)


class Child:
    """A bot that was born in a nursery."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._end.result() if self._end.done() else None

    def send_signal(self, signal: int, /) -> None:
        """Send a signal, if it still runs."""
        if not self._end.done():
            # Its end may be known to its parent and not here yet.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal)

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end, and return how it ended."""
        return await asyncio.shield(self._end)

    def note_end(self, code: int) -> None:
        """Take note of its end."""
        self._end.set_result(code)


class Nursery:
    """`async with Nursery() as nursery`: bots by fork, each in a fifth of the time of a start.

    Every one is a process with its own memory, files and sockets, from the command line's first
    line on; what they share is what Python imported. All are gone on return.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._births: asyncio.Queue[Child] = asyncio.Queue()
        self._children: dict[int, Child] = {}
        self._ready = asyncio.Event()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Import everything."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.child",
            "--nursery",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._listening = asyncio.create_task(self._listen(), name="nursery")
        async with asyncio.timeout(60):
            await self._ready.wait()
        if self._listening.done():
            raise RuntimeError("the nursery did not start")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every bot that still runs."""
        if self._process is None or self._process.stdin is None or self._listening is None:
            return
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def start(
        self, pg: Playground, folder: Path, *, config: str = SETTINGS, **wishes: object
    ) -> Child:
        """Start a bot, with its data in the folder; `wishes` are those of the child."""
        arguments, given = _wanted(pg, folder, config, wishes)
        wanted: dict[str, Any] = {
            "arguments": arguments,
            "environment": given,
            "log": str(folder / "bot.log"),
        }
        async with self._turn, asyncio.timeout(20):
            if self._process is None or self._process.stdin is None:
                raise RuntimeError("enter the nursery with `async with` first")
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            return await self._births.get()

    @asynccontextmanager
    async def bot(
        self, pg: Playground, folder: Path, *, config: str = SETTINGS, **wishes: object
    ) -> AsyncIterator[Child]:
        """Run a bot that is connected; it is gone on return."""
        seen = connects(pg)
        process = await self.start(pg, folder, config=config, **wishes)
        try:
            await connected(pg, seen)
            yield process
        finally:
            await ended(process)

    async def _listen(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        async for line in self._process.stdout:
            word = json.loads(line)
            if "born" in word:
                child = self._children[word["born"]] = Child(word["born"])
                self._births.put_nowait(child)
            elif "ended" in word:
                self._children.pop(word["ended"]).note_end(word["code"])
            else:
                self._ready.set()
        for child in self._children.values():
            child.note_end(-signal.SIGKILL)
        # Where it ended before it began, nobody may wait for it any longer.
        self._ready.set()


def connects(pg: Playground) -> int:
    """Return how many bots have connected so far."""
    return len(pg.ledger.happened("identify"))


async def connected(pg: Playground, seen: int) -> None:
    """Wait for a bot that connects after so many others, and has told its commands."""
    await pg.wait(lambda _: connects(pg) > seen, timeout=20)
    await pg.ready(timeout=20)


async def ended(process: Process) -> int:
    """Kill a process if it still runs, and return how it ended."""
    if process.returncode is None:
        process.kill()
    return await process.wait()


async def stopped(process: Process) -> None:
    """Ask the bot to stop, and see that it does so in time and in good order."""
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def jobs_of(folder: Path) -> list[Job]:
    """Read the whole table of a bot that has ended, the newest first."""
    store = await Store.open(folder / "data")
    try:
        return await whole_table(store)
    finally:
        await store.close()


async def whole_table(store: Store) -> list[Job]:
    """Read all jobs of a store, also those whose pictures are deleted; the newest first."""
    found: list[Job] = []
    last = 0
    while True:
        # What people may look back at leaves the deleted ones out.
        page = await store._database.read(partial(jobs_after, sequence=last, limit=PAGE))
        if not page:
            return found[::-1]
        found += [job for _, job in page]
        last = page[-1][0]
