"""The models that are compared: names and facts, no network.

Promises: imports neither side, so that a process measuring one of them holds nothing of the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

FOLDER: Final = "folder"
SINGLE: Final = "single"
FILES: Final[Mapping[str, str]] = {FOLDER: "folder", SINGLE: "model.safetensors"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One model.

    `writer` names the table in tests.parity.tinies that spells its single file. `dtype` is that of
    its files and of the loading that is measured, `side` that of the latents which are compared,
    `prediction` what its U-Net predicts.
    """

    title: str
    writer: str
    dtype: torch.dtype = torch.float32
    side: int = 16
    prediction: str = "epsilon"

    @property
    def is_xl(self) -> bool:
        """Whether it has two text encoders and is told sizes."""
        return self.writer == "sdxl"


_SD15: Final = Family(title="SD 1.5", writer="sd1")
_SD21: Final = Family(title="SD 2.1, 768-v", writer="sd2", side=24, prediction="v_prediction")
_SDXL: Final = Family(title="SDXL base", writer="sdxl", dtype=torch.float16)
# The tiny ones are the same, shrunk, for tests.
FAMILIES: Final[Mapping[str, Family]] = {
    "sd15": _SD15,
    "sd21": _SD21,
    "sdxl": _SDXL,
    "tiny-sd15": _SD15,
    "tiny-sd21": _SD21,
    "tiny-sdxl": _SDXL,
}
