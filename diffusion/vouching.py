"""Who answers for a file of weights: asked around every reading of one that lies beside a model.

Promises: files that are read when somebody first names them (LoRAs, ControlNets, textual
inversions, describers) are read inside of a block that the caller of `load_model` gave, and
nothing of a file is kept when the block refuses it, before the reading or after. Never decides
anything itself; never imports torch.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["lora", "controlnet", "embedding", "describer", "upscaler"]


class Vouch(Protocol):
    """Makes the block around one reading. Entering and leaving it may raise DiffusionError, and
    nothing else: it is entered in the device's own thread, too.
    """

    def __call__(self, kind: Kind, path: Path, /) -> AbstractContextManager[object]:
        """Return the block for a file, or for a ControlNet's folder."""


def anybody(kind: Kind, path: Path, /) -> AbstractContextManager[object]:
    """Vouch for every file: what reads files of its own takes them as they are."""
    del kind, path
    return nullcontext()
