"""Where work is halted by an admin: paused or draining, here or everywhere, also after a restart.

Promises that a paused place starts nothing while what runs goes on, that a draining place takes in
nothing while what waits is painted, and that both are still so when the bot comes back. What holds
everywhere comes before what holds for one guild.
"""

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from bot.queue import EVERYWHERE, FairQueue
from storage import Scope, Store

# One entry for all places: the store lists no guilds. No guild has the id 0.
_HOME: Final = 0
_KEY: Final = "halts"

log = logging.getLogger(__name__)


class Halt(StrEnum):
    """How work is halted; the value is stored."""

    PAUSED = "paused"
    DRAINING = "draining"


class Halts:
    """The halts in force."""

    def __init__(self, store: Store, queue: FairQueue) -> None:
        self._store = store
        self._queue = queue
        self._places: dict[int, Halt] = {}

    async def load(self) -> None:
        """Take up what an earlier run left."""
        kept = (await self._store.people.preferences(Scope.GUILD, _HOME)).get(_KEY)
        if isinstance(kept, Mapping):
            for place, halt in kept.items():
                if str(place).isdigit() and halt in set(Halt):
                    self._apply(int(place), Halt(halt))

    async def set(self, guild_id: int | None, halt: Halt | None) -> None:
        """Halt a guild, or everywhere for None; or let work go on."""
        place = EVERYWHERE if guild_id is None else guild_id
        places = {**self._places, place: halt}
        kept = {str(key): str(value) for key, value in places.items() if value is not None}
        await self._store.people.set_preference(Scope.GUILD, _HOME, _KEY, kept or None)
        self._apply(place, halt)
        log.info("%s is %s", place or "everything", halt or "resumed")

    def of(self, guild_id: int | None) -> Halt | None:
        """Return how a guild's work is halted."""
        everywhere = self._places.get(EVERYWHERE)
        return everywhere or self._places.get(guild_id or EVERYWHERE)

    def _apply(self, place: int, halt: Halt | None) -> None:
        if halt is None:
            self._places.pop(place, None)
        else:
            self._places[place] = halt
        if halt is Halt.PAUSED:
            self._queue.pause(place)
        else:
            self._queue.resume(place)
