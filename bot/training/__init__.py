"""`easel train`: each part a command that stops by its clock and goes on where it was.

Promises: no torch before a command runs, so that `easel --help` stays quick.
"""

from bot.training import ddpm as ddpm
from bot.training import describer as describer
from bot.training import evaluate as evaluate
from bot.training import shipped as shipped
from bot.training import thesaurus as thesaurus
from bot.training import toy as toy
from bot.training import tune as tune
from bot.training.app import train as train
