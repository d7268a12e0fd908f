"""The bot as a process beside a playground: started, stopped, killed, and read when it is gone.

Promises the real command line, client, store and sockets, with the tests' engine (`tests.child`).
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.playground import Playground
from storage import Job, Store

ROOT = Path(__file__).parents[2]
PAGE = 100
SETTINGS = "[storage]\nmin_free_gib = 0\n"


async def start(
    pg: Playground, folder: Path, *, config: str = SETTINGS, **wishes: object
) -> asyncio.subprocess.Process:
    """Start the bot as a process, with its data in the folder; `wishes` are those of the child."""
    path, log = folder / "config.toml", folder / "bot.log"
    path.write_text(config, encoding="utf-8")
    addresses = {"api": pg.api_base, "gateway": pg.gateway_url, "cdn": pg.cdn_base}
    given = {"DISCORD_TOKEN": pg.token, "EASEL_TEST": json.dumps({**addresses, **wishes})}
    with log.open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.child",
            "run",
            "--config",
            str(path),
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
    process = await start(pg, folder, config=config, **wishes)
    try:
        await pg.ready(timeout=20)
        yield process
    finally:
        await ended(process)


async def ended(process: asyncio.subprocess.Process) -> int:
    """Kill a process if it still runs, and return how it ended."""
    if process.returncode is None:
        process.kill()
    return await process.wait()


async def stopped(process: asyncio.subprocess.Process) -> None:
    """Ask the bot to stop, and see that it does so in time and in good order."""
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def jobs_of(folder: Path) -> list[Job]:
    """Read the whole table of a bot that has ended, the newest first."""
    store = await Store.open(folder / "data")
    try:
        found = await store.history(limit=PAGE)
        while len(found) % PAGE == 0 and found:
            more = await store.history(limit=PAGE, before=found[-1].id)
            if not more:
                break
            found += more
        return found
    finally:
        await store.close()
