"""The commands about what is somebody's own, and the lists: made here, offered by the client."""

from collections.abc import Callable
from typing import Any, Final

from discord import app_commands

from bot.commands.forget_me import forget_me
from bot.commands.lineage import lineage
from bot.commands.loras import loras
from bot.commands.models import models
from bot.commands.my_data import my_data
from bot.commands.prefer import prefer
from bot.commands.presets import presets
from bot.commands.random import random_command
from bot.commands.settings import settings
from bot.commands.verify import verify

Maker = Callable[[], app_commands.Command[Any, ..., None] | app_commands.Group]

PEOPLE: Final[tuple[Maker, ...]] = (
    settings,
    prefer,
    models,
    presets,
    loras,
    random_command,
    lineage,
    verify,
    my_data,
    forget_me,
)
