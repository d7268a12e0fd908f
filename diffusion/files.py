"""Checkpoint files on disk: where they are and what they hash to. Loads no torch."""

import hashlib
from pathlib import Path

from diffusion.errors import CheckpointError

_BLOCK = 1 << 20


def checkpoint_file(folder: Path) -> Path:
    """Return the weights file of a model folder, or raise CheckpointError."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: the model in {folder} has no weights.")
    return path


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
