"""Flags offered while somebody types, from the parser's own table.

Promises that what is offered reads as it stands, that the rest of what was typed stays, and that
nothing is offered which Discord would cut. `/imagine` has no such list: there, ordinary words would
be met with "no options match".
"""

from typing import Final

from discord import app_commands

from bot.axes import WORDS, is_compared
from bot.commands.choices import matching
from bot.prompt.flags import FLAGS, Flag, Kind
from bot.services import Interaction

_CHOICE: Final = 100
# Values that show what an axis is about, where one example is not enough.
_SEVERAL: Final = {"steps": "10,20,30", "cfg": "4,7,10", "seed": "1,2,3", "quality": "0.5,1,2"}


async def complete_flags(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Offer flags for the last one that is being typed, behind those that stand already."""
    del interaction
    before, _, typed = current.rpartition(" ")
    wanted = typed.lstrip("-‐–—")
    taken = set(before.split())
    offered = [_typed(flag) for flag in FLAGS if f"--{flag.name}" not in taken]
    found = matching(f"--{wanted}", offered)
    whole = [f"{before} {one}".strip() for one in found]
    return [app_commands.Choice(name=one, value=one) for one in whole if len(one) <= _CHOICE]


async def complete_axis(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Offer what can be compared, and values to begin with."""
    del interaction
    if "=" in current:
        return [app_commands.Choice(name=current[:_CHOICE], value=current[:_CHOICE])]
    axes = [f"{flag.name}={_values(flag)}" for flag in FLAGS if is_compared(flag)]
    axes.append(f"{WORDS}=red,blue")
    found = matching(current.lstrip("-"), axes)
    return [app_commands.Choice(name=one, value=one) for one in found]


def _typed(flag: Flag) -> str:
    return f"--{flag.name} {flag.example}".strip()


def _values(flag: Flag) -> str:
    return _SEVERAL.get(flag.name) or flag.example or ("1" if flag.kind is Kind.WHOLE else "")
