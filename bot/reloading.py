"""Edits of config.toml and of the folders it names, taken in while the bot runs.

Promises that a changed file is in force within seconds, whole, or refused with file, line and key
while the settings before stay; that the admins then read why; and that LoRAs laid into a model's
folder can be named without a restart. Never stops watching because of a bad file.
"""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import awatch

from bot import texts_community
from bot.applied import differences, keep_applied
from bot.config import Config, ConfigError, read_text, reload_text
from bot.language import speaking
from bot.logs import set_level
from bot.moderation import tell_admins
from bot.talk import Letter

if TYPE_CHECKING:
    from bot.app import App

log = logging.getLogger(__name__)


class Reloader:
    """Keeps a running bot's settings like its file."""

    def __init__(self, app: "App", config: Config, path: Path) -> None:
        self._app = app
        self._config = config
        self._path = path
        self._turn = asyncio.Lock()
        self._refused: str | None = None
        self._moved = asyncio.Event()

    async def begin(self) -> None:
        """Note the settings of this start as those in force, and answer /admin reload."""
        self._app.services.reload = self.reload
        try:
            text = await asyncio.to_thread(read_text, self._path)
        except ConfigError:
            # It was there a moment ago; the watch tells more.
            return
        await asyncio.to_thread(keep_applied, self._config, text)

    async def reload(self) -> tuple[str, ...]:
        """Read the file again; return what changed, or raise ConfigError and change nothing."""
        async with self._turn:
            text = await asyncio.to_thread(read_text, self._path)
            fresh = await asyncio.to_thread(reload_text, text, self._path, self._config)
            changes = differences(fresh, self._config)
            if [*watched_folders(fresh)] != [*watched_folders(self._config)]:
                self._moved.set()
            self._config, self._refused = fresh, None
            set_level(fresh.monitoring.log_level)
            self._app.apply_config(fresh)
            await asyncio.to_thread(keep_applied, fresh, text)
        log.info("config.toml was changed and is in force")
        return changes

    async def watch(self) -> None:
        """Take in every edit until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_file(), name="watch config")
            group.create_task(self._watch_folders(), name="watch folders")

    async def _watch_file(self) -> None:
        # Its folder alone, and not what lies below: the database is written there all the time.
        async for _ in awatch(
            self._path.parent,
            watch_filter=lambda _, name: Path(name).name == self._path.name,
            recursive=False,
        ):
            await self._reload_or_tell()

    async def _watch_folders(self) -> None:
        while True:
            self._moved.clear()
            folders = [folder for folder in watched_folders(self._config) if folder.is_dir()]
            if not folders:
                await self._moved.wait()
                continue
            async for changes in awatch(*folders, stop_event=self._moved):
                await self._app.refresh_folders({Path(name) for _, name in changes})

    async def _reload_or_tell(self) -> None:
        try:
            await self.reload()
        except ConfigError as error:
            log.error("config.toml is not applied: %s", error)
            # An editor saves more than once; the admins read of a fault once.
            if str(error) != self._refused:
                self._refused = str(error)
                with speaking(None):
                    letter = Letter(content=texts_community.reload_refused(str(error)))
                await tell_admins(self._app.services, letter)


def watched_folders(config: Config) -> Iterator[Path]:
    """Name the folders of add-ons; word lists are read whenever a prompt draws from them."""
    for model in config.models.values():
        yield from (each for each in (model.loras, model.embeddings) if each is not None)
