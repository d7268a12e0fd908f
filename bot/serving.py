"""One bot from start to end: store, engine and client together, signals, and edits of config.toml.

Promises that the first SIGINT or SIGTERM hands running jobs back and ends within seconds, that the
second one ends at once, and that a changed config.toml is applied whole or refused with a sentence.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import discord

from bot import texts
from bot.app import App
from bot.config import Config
from bot.exits import SOFTWARE, Exit
from bot.loading import describe_models, load_engine
from bot.reloading import Reloader
from diffusion import EngineDeadError
from storage import StorageError, Store

log = logging.getLogger(__name__)


async def serve(
    config: Config, token: str, *, config_path: Path | None, on_ready: Callable[[], None]
) -> None:
    """Run the bot until it is told to stop; raise Exit when it cannot."""
    models = describe_models(config)
    store = await _open_store(config.storage.folder)
    try:
        engine = await asyncio.to_thread(load_engine, config)
        async with (
            engine,
            App(config=config, store=store, engine=engine, models=models) as app,
            asyncio.TaskGroup() as group,
        ):
            helpers = [group.create_task(_tell(app, on_ready))]
            if config_path is not None:
                reloader = Reloader(app, config, config_path)
                await reloader.begin()
                helpers.append(group.create_task(reloader.watch()))
            with _Signals(app):
                await _run(app, token)
            for helper in helpers:
                helper.cancel()
    except* Exit as errors:
        raise errors.exceptions[0] from None
    finally:
        await store.close()


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
    """Turn the first SIGINT or SIGTERM into a graceful stop, and the second into an end."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopping: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._heard)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _heard(self) -> None:
        if self._stopping is not None:
            os._exit(130)
        log.info("stopping: running jobs go back to the queue; once more to stop at once")
        self._stopping = asyncio.get_running_loop().create_task(self._app.stop())
