"""What a checkpoint consists of: parts, and for every tensor of a part the place it comes from.

Promises: plain frozen values, never a weight, never torch.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from diffusion.checkpoints.header import TensorInfo
from diffusion.errors import CheckpointError
from diffusion.files import sha256_of
from diffusion.networks.configs import (
    BERTConfig,
    ClassConfig,
    ControlNetConfig,
    DDPMConfig,
    SafetyConfig,
    TextConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)

Config = (
    UNetConfig
    | DDPMConfig
    | VAEConfig
    | TinyVAEConfig
    | ControlNetConfig
    | TextConfig
    | BERTConfig
    | ClassConfig
    | SafetyConfig
)
Kind = Literal[
    "model", "unet", "vae", "text", "taesd", "controlnet", "lora", "embedding", "upscaler"
]

_KINDS: Final[Mapping[str, str]] = {
    "model": "a whole model: name it in [models.<alias>]",
    "unet": "a U-Net alone: a model also needs its autoencoder and text encoder",
    "vae": "an autoencoder alone: give it to a model as its vae",
    "text": "a text encoder alone: a model also needs its U-Net and autoencoder",
    "taesd": "a tiny autoencoder for previews: give it to a model as its preview",
    "controlnet": "a ControlNet: put it into the folder of ControlNets",
    "lora": "a LoRA: put it into the folder of LoRAs and write <lora:name:1> in a prompt",
    "embedding": "a textual inversion: put it into the folder of embeddings and write its name",
    "upscaler": "an upscaler: put it into the folder of upscalers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One tensor in one file."""

    file: Path
    key: str
    info: TensorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one tensor of a network comes from.

    Nearly always one piece. `rows` takes only those rows of it; `transposed` swaps its two
    dimensions; with `heads`, three pieces (queries, keys, values) are joined head by head. Last, it
    is given the `shape` the network wants, which differs at most by dimensions of size 1.
    """

    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    transposed: bool = False
    heads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One network: its sizes, and the source of each of its tensors by our names.

    `upcast` says that half precision overflows in this network (the autoencoder of Stable Diffusion
    XL), so that it wants float32 or bfloat16.
    """

    name: str
    config: Config
    sources: Mapping[str, Source]
    upcast: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of the tensors in the files."""
        pieces = (piece for source in self.sources.values() for piece in source.pieces)
        return sum(piece.info.end - piece.info.start for piece in pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file or folder, described.

    kind: what it is. family: "sd1" "sd2" "sdxl" "sdxl_refiner" "ldm" "ldm_class" "ldm_uncond"
    "ddpm", or None where the file does not tell. precision: that of most of its weights. bytes: of
    all its files. schedule: the fields of a scheduler_config.json. prediction_type: "epsilon",
    "v_prediction", "sample", "edm" (Karras et al. 2022), or None where it must be found by trying
    (Stable Diffusion 2 files).
    files: every file that was described, in order.
    """

    path: Path
    layout: Literal["single", "folder"]
    kind: Kind
    family: str | None
    precision: str
    bytes: int
    files: tuple[Path, ...]
    parts: Mapping[str, Part]
    schedule: Mapping[str, object]
    prediction_type: str | None
    force_zeros_for_empty_prompt: bool = False
    requires_aesthetics_score: bool = False
    metadata: Mapping[str, str]

    def require(self, *kinds: Kind) -> None:
        """Raise CheckpointError, saying what the file is and where it belongs, unless it is one of
        `kinds`.
        """
        if self.kind not in kinds:
            raise CheckpointError(f"{self.path} is {_KINDS[self.kind]}.")

    def sha256(self) -> str:
        """Return the SHA-256 of the file, or of the hashes of a folder's files in their order."""
        if self.layout == "single":
            return sha256_of(self.path)
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{sha256_of(file)}  {file.relative_to(self.path).as_posix()}\n".encode())
        return digest.hexdigest()
