"""Enlarge one picture with the real spandrel, in a process of its own.

Run: python -m tests.spandrel_alone CHECKPOINT SMALL LARGE TILE HALO
torchvision's wheel is built for a torch with CUDA. Beside another its kernels do not load, and then
its Python code does not either, as it describes kernels that torch has never heard of. No upscaler
here needs them: declaring the two is enough. Everything else is the real thing.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from diffusion.upscale import load_upscaler


def main(checkpoint: str, small: str, large: str, tile: str, halo: str) -> None:
    """Enlarge and save."""
    if torch.version.cuda is None:
        kernels: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            kernels.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    upscaler = load_upscaler(Path(checkpoint), tile=int(tile), halo=int(halo))
    upscaler.upscale(Image.open(small)).save(large)


if __name__ == "__main__":
    main(*sys.argv[1:])
