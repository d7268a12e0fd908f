"""Checkpoints: what a file or folder is, and its tensors into networks.

Promises: `open_checkpoint` describes without importing torch or reading a weight;
`diffusion.checkpoints.load.load_part`, imported by its own name, is what needs torch. Never opens a
pickle, and has no flag for it.
"""

from diffusion.checkpoints.opening import open_checkpoint
from diffusion.checkpoints.parts import Checkpoint, Part, Piece, Source

__all__ = ["Checkpoint", "Part", "Piece", "Source", "open_checkpoint"]
