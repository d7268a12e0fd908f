"""One bot from start to end: store, engine and client together, signals, and edits of config.toml.

Promises that the first SIGINT or SIGTERM hands running jobs back and ends within seconds, that the
second one waits for no message and the third for nothing, and that a changed config.toml is applied
whole or refused with a sentence.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import discord

from bot import texts
from bot.app import App
from bot.config import Config
from bot.exits import INTERRUPTED, SOFTWARE, Exit
from bot.loading import describe_models, load_engine
from bot.reloading import Reloader
from bot.trusted import check_all
from diffusion import EngineDeadError
from storage import StorageError, Store

# So long after the second signal the process is gone, whatever hangs.
LAST_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


async def serve(
    config: Config, token: str, *, config_path: Path | None, on_ready: Callable[[], None]
) -> None:
    """Run the bot until it is told to stop; raise Exit when it cannot."""
    models = describe_models(config)
    store = await _open_store(config.storage.folder)
    signals = _Signals()
    try:
        engine = await asyncio.to_thread(load_engine, config)
        async with (
            engine,
            App(config=config, store=store, engine=engine, models=models) as app,
            asyncio.TaskGroup() as group,
        ):
            # What was loaded stays for good: half a million objects of libraries and models would
            # hold up the event loop for a third of a second each time the collector sees them all.
            gc.collect()
            gc.freeze()
            helpers = [group.create_task(_tell(app, on_ready))]
            helpers.append(group.create_task(check_all(config), name="check models"))
            if config_path is not None:
                reloader = Reloader(app, config, config_path)
                await reloader.begin()
                helpers.append(group.create_task(reloader.watch()))
            signals.watch(app)
            await _run(app, token)
            if signals.hurried:
                raise Exit("Stopped at once; jobs go on at the next start.", code=INTERRUPTED)
            for helper in helpers:
                helper.cancel()
    except* Exit as errors:
        raise errors.exceptions[0] from None
    finally:
        gc.unfreeze()
        await store.close()
        signals.close()


async def _open_store(folder: Path) -> Store:
    try:
        return await Store.open(folder)
    except StorageError as error:
        raise Exit(str(error)) from error


async def _run(app: App, token: str) -> None:
    try:
        await app.run(token)
    except discord.LoginFailure:
        raise Exit(texts.login_refused()) from None
    except EngineDeadError as error:
        raise Exit(
            f"The engine died and the bot must be started again: {error}", code=SOFTWARE
        ) from error


async def _tell(app: App, on_ready: Callable[[], None]) -> None:
    await app.ready.wait()
    on_ready()


class _Signals:
    """Turn the first SIGINT or SIGTERM into a graceful stop, the second into a quick one."""

    def __init__(self) -> None:
        self._stopping: asyncio.Task[None] | None = None
        self._last: asyncio.TimerHandle | None = None

    @property
    def hurried(self) -> bool:
        """Whether a second signal came."""
        return self._last is not None

    def watch(self, app: App) -> None:
        """Stop this app when a signal comes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._heard, app)

    def close(self) -> None:
        """Listen no more."""
        if self._last is not None:
            self._last.cancel()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _heard(self, app: App) -> None:
        loop = asyncio.get_running_loop()
        if self._stopping is None:
            log.info("stopping: running jobs go back to the queue; once more to stop at once")
            self._stopping = loop.create_task(app.stop())
        elif self._last is None:
            # Twice in a row is no crash: the jobs are handed back all the same.
            app.hurry()
            self._last = loop.call_later(LAST_SECONDS, os._exit, INTERRUPTED)
        else:
            os._exit(INTERRUPTED)
