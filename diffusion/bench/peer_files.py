"""Files of a measured model in both layouts: Easel's single file, diffusers' folder.

Promises: both hold the same numbers in the same precision; written by a process of its own, so that
whoever is measured later has none of it in memory. The shipped model stays the folder it is.
"""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from diffusion.bench.errors import BenchError
from diffusion.bench.peer import Peer, diffusers, quiet
from diffusion.bench.subjects import SHIPPED, build, pick_device
from diffusion.model import Model
from diffusion.text import clip_tokenizer

SINGLE: Final = "model.safetensors"
FOLDER: Final = "folder"
# Families whose single files have the names of our own modules.
_PLAIN: Final = ("sd1",)
_TABLE: Final = Path(__file__).parents[1] / "data/clip/bpe_simple_vocab_16e6.txt.gz"


def write(*, model: str, folder: str, dtype: str, peer: bool, seed: int = 1) -> dict[str, float]:
    """Write a model's files into a folder; return the bytes of its weights in that precision.

    `peer`: also the folder for diffusers. BenchError for a family without such a single file.
    """
    subject = build(model, pick_device("cpu"), seed=seed)
    if model != SHIPPED and subject.family not in _PLAIN:
        raise BenchError(f"{model} has no single file here; load the shipped model or sd15")
    precision = getattr(torch, dtype)
    if model != SHIPPED:
        tensors = {k: v.to(precision).contiguous() for k, v in _single(subject).items()}
        save_file(tensors, Path(folder) / SINGLE)
        del tensors
    if peer:
        _write_folder(subject, Path(folder) / FOLDER, precision)
    text = () if subject.text is None else (each.model for each in subject.text.encoders)
    numbers = sum(p.numel() for n in (subject.backbone, subject.vae, *text) for p in n.parameters())
    return {"weights": float(numbers * precision.itemsize)}


def _single(model: Model) -> Mapping[str, torch.Tensor]:
    """Return a model's weights in the original names."""
    encoders = () if model.text is None else model.text.encoders
    named = {f"model.diffusion_model.{k}": v for k, v in model.backbone.state_dict().items()}
    named |= {f"first_stage_model.{k}": v for k, v in model.vae.state_dict().items()}
    for encoder in encoders:
        for key, value in encoder.model.state_dict().items():
            bare = key.removeprefix("text_model.")
            named[f"cond_stage_model.transformer.text_model.{bare}"] = value
    return named


def _write_folder(model: Model, folder: Path, dtype: torch.dtype) -> None:
    """Write what `from_pretrained` reads, with the tokenizer where it is CLIP's own."""
    if model.text is None:
        raise BenchError(f"{model.info.name} paints without words; no pipeline of diffusers fits")
    twin, found = Peer(model), diffusers()
    encoder = model.text.encoders[0]
    own = encoder.tokenizer.get_vocab_size() == clip_tokenizer().get_vocab_size()
    with quiet():
        pipeline = found.StableDiffusionPipeline(
            unet=twin.unet.to(dtype),
            vae=twin.vae.to(dtype),
            text_encoder=_cast(encoder.model, dtype),
            tokenizer=_tokenizer() if own else None,
            scheduler=found.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(folder, safe_serialization=True)


def _cast(network: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    return network.to(dtype)


def _tokenizer() -> Any:  # noqa: ANN401 - a foreign class
    """Return transformers' tokenizer over CLIP's published table."""
    from transformers import CLIPTokenizer

    lines = gzip.decompress(_TABLE.read_bytes()).decode().split("\n")
    vocabulary = clip_tokenizer().get_vocab()
    merges: list[Any] = [tuple(line.split()) for line in lines[1 : 1 + len(vocabulary) - 514]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
