"""The commands that make something of pictures and words: made here, offered by the client."""

from typing import Final

from bot.commands.blend import blend
from bot.commands.describe import describe
from bot.commands.grid import grid
from bot.commands.morph import morph
from bot.commands.people import Maker
from bot.commands.shorten import shorten

IDEAS: Final[tuple[Maker, ...]] = (describe, shorten, blend, morph, grid)
