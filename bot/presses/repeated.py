"""Presses that come twice: a finger that doubled, a client that is impatient, a script.

Promises that of all presses of one button by one person within a second one counts, however many
there are and however slowly they are answered: the time is Discord's own, from the interactions'
ids, so that no clock here has a say. Keeps nothing longer than it needs.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bot.services import Interaction

SECONDS: Final = 1.0
_MOST: Final = 10_000


class Repeated:
    """Tells the presses of one button that count from those that came too soon after one."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Let one press count in so many seconds."""
        self.seconds = seconds
        self._counted: OrderedDict[tuple[int, int, str], tuple[int, float]] = OrderedDict()

    def is_one(self, interaction: "Interaction", custom_id: str) -> bool:
        """Say whether a press came too soon after one that counts; else it is that one now."""
        message_id = interaction.message.id if interaction.message is not None else 0
        place = (interaction.user.id, message_id, custom_id)
        moment = interaction.created_at.timestamp()
        before = self._counted.get(place)
        # The same interaction twice is no second press: the store knows that job already.
        is_new = before is not None and before[0] != interaction.id
        if before is not None and is_new and abs(moment - before[1]) < self.seconds:
            return True
        self._counted[place] = (interaction.id, moment)
        self._counted.move_to_end(place)
        if len(self._counted) > _MOST:
            self._counted.popitem(last=False)
        return False
