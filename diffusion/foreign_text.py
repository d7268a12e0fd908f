"""The text side of somebody else's checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from filecmp import cmpfiles
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import nn

from diffusion.addon_files import enumerate_files
from diffusion.checkpoints import Checkpoint, Part
from diffusion.checkpoints.load import load_part
from diffusion.checkpoints.reading import Reading
from diffusion.errors import CheckpointError
from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import BERTConfig, ClassConfig, TextConfig
from diffusion.text import (
    BertStack,
    ClassStack,
    ClipEncoder,
    ClipStack,
    TextStack,
    bert_tokenizer,
    build_text_model,
    clip_tokenizer,
    tokenizer_from_folder,
)
from diffusion.text.inversions import Inversions
from diffusion.text.tokenizers import TOKENIZER_FILES
from diffusion.vouching import Vouch

# Where a folder keeps the tokenizer of each part.
_TOKENIZERS: Final[Mapping[str, str]] = {"text": "tokenizer", "text_2": "tokenizer_2"}


def load_text(
    found: Checkpoint, device: torch.device, dtype: torch.dtype, reading: Reading,
    *, embeddings: Path | None, vouch: Vouch,
) -> TextStack | None:  # fmt: skip
    """Load the text encoders of a checkpoint; None for a model without words.

    `vouch` answers for the files of the folder `embeddings`.
    """
    parts = [found.parts[name] for name in ("text", "text_2") if name in found.parts]
    if not parts:
        return None
    config = parts[0].config
    if isinstance(config, ClassConfig):
        with torch.device("meta"):
            table = nn.Embedding(config.classes, config.width)
        # Files keep it under this name, one level down.
        load_part(parts[0], nn.ModuleDict({"embedding": table}), device, dtype, reading)
        return ClassStack(table)
    if isinstance(config, BERTConfig):
        with torch.device("meta"):
            bert = BERTTransformer(config)
        load_part(parts[0], bert, device, dtype, reading)
        tokenizer = _tokenizer(found, "text", bert_tokenizer)
        return BertStack(tokenizer=tokenizer, model=bert, config=config)
    widths = tuple(_clip_config(part).width for part in parts)
    inversions = Inversions(enumerate_files(embeddings), widths, vouch=vouch)
    encoders: list[ClipEncoder] = []
    for part in parts:
        encoders.append(
            _clip(found, part, inversions, reading, before=encoders, device=device, dtype=dtype)
        )
    return ClipStack(encoders)


def _clip(
    found: Checkpoint,
    part: Part,
    inversions: Inversions,
    reading: Reading,
    *,
    before: Sequence[ClipEncoder],
    device: torch.device,
    dtype: torch.dtype,
) -> ClipEncoder:
    config = _clip_config(part)
    with torch.device("meta"):
        model = build_text_model(config)
    load_part(part, model, device, dtype, reading)
    if before and _same_tokenizer(found):
        # Stable Diffusion XL's two read the same 49,408 words, a tenth of the time of loading it.
        tokenizer = before[0].tokenizer
    else:
        tokenizer = _tokenizer(found, part.name, clip_tokenizer)
    return ClipEncoder(
        tokenizer=tokenizer,
        model=model,
        config=config,
        inversions=inversions,
        place=len(before),
    )


def _clip_config(part: Part) -> TextConfig:
    if not isinstance(part.config, TextConfig):
        raise CheckpointError(f"{part.name} is described as a {type(part.config).__name__}")
    return part.config


def _tokenizer(found: Checkpoint, name: str, own: Callable[[], Tokenizer]) -> Tokenizer:
    """Return a folder's tokenizer; single files bring none and get the family's own."""
    folder = found.path / _TOKENIZERS[name]
    return tokenizer_from_folder(folder) if folder.is_dir() else own()


def _same_tokenizer(found: Checkpoint) -> bool:
    """Say whether both encoders' tokenizers would be made of the same bytes."""
    first, second = (found.path / folder for folder in _TOKENIZERS.values())
    if first.is_dir() != second.is_dir():
        return False
    files = [
        file for file in TOKENIZER_FILES if (first / file).exists() or (second / file).exists()
    ]
    same, _, _ = cmpfiles(first, second, files, shallow=False)
    return same == files
