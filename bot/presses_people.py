"""Which presses belong to what is people's own: the table from a custom_id's action to its answer.

Promises that an action stands here exactly once, for ever: buttons years old name it. What an
answer gets is the rest of the custom_id behind `v1:<action>:`, which is a question and no proof.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from bot import help_pages, history_pages, list_pages, settings_panel
from bot.commands import admin_forget, forget_me, random, verify
from bot.services import Interaction

Handler = Callable[[Interaction, str], Awaitable[None]]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        settings_panel.ACTION: settings_panel.answer_setting,
        help_pages.ACTION: help_pages.turn_help,
        list_pages.ACTION: list_pages.turn_list,
        history_pages.FAVOURITES: history_pages.turn_favourites,
        random.PAINT: random.paint_idea,
        random.AGAIN: random.think_again,
        verify.ACTION: verify.prove,
        forget_me.ACTION: forget_me.forget_for_good,
        admin_forget.ACTION: admin_forget.forget_one,
    }
)
