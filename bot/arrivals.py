"""The door that every interaction comes in by: when it came, and whether it came before.

Promises that what Discord sends twice is handled once by one run of the bot, so that its answers
come from one hand; what an earlier run took in is known to the store.
"""

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bot.services import Interaction

# What is noted in an interaction. One object of discord.py's passes several of our doors.
_ARRIVED: Final = "arrived"
_FIRST: Final = "first"
_MOST: Final = 10_000

log = logging.getLogger(__name__)


class Arrivals:
    """Which interactions came lately."""

    def __init__(self) -> None:
        self._came = OrderedDict[int, None]()

    def is_first(self, interaction: "Interaction") -> bool:
        """Note that an interaction came; False where an earlier event brought it already."""
        arrived(interaction)
        if _FIRST not in interaction.extras:
            interaction.extras[_FIRST] = interaction.id not in self._came
            self._came[interaction.id] = None
            if len(self._came) > _MOST:
                self._came.popitem(last=False)
            if not interaction.extras[_FIRST]:
                log.info("interaction %d came twice", interaction.id)
        first: bool = interaction.extras[_FIRST]
        return first


def arrived(interaction: "Interaction") -> float:
    """Return when an interaction came, in monotonic seconds: when this was first asked of it."""
    moment: float = interaction.extras.setdefault(_ARRIVED, time.monotonic())
    return moment
