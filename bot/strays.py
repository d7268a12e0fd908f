"""Presses that no code of ours would hear of: buttons of other versions, or that no message has.

discord.py hands a press on only if some pattern matches its custom_id and its message has such a
button. Promises that every other press is answered too, with a sentence, so that nobody waits for
"This interaction failed".
"""

import re
from typing import TYPE_CHECKING, Any, Final

from discord.ui import LayoutView, View

from bot import texts
from bot.answers import say
from bot.buttons import TEMPLATE

if TYPE_CHECKING:
    from bot.services import Interaction

_OURS: Final = re.compile(TEMPLATE, re.DOTALL)


async def answer_stray(interaction: "Interaction") -> None:
    """Answer a press that nothing else will; leave every other alone."""
    if not _is_heard(interaction):
        await say(interaction, texts.unknown_button())


def _is_heard(interaction: "Interaction") -> bool:
    """Tell whether a press reaches `bot.buttons`."""
    data: Any = interaction.data
    custom_id, message = str(data.get("custom_id")), interaction.message
    if message is None or _OURS.fullmatch(custom_id) is None:
        return False
    views: tuple[type[View] | type[LayoutView], ...] = (View, LayoutView)
    view = views[message.flags.components_v2].from_message(message, timeout=None)
    return any(getattr(item, "custom_id", None) == custom_id for item in view.walk_children())
