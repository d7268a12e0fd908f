"""All weights of a model in training, and the result as a file or folder that `load_model` takes.

Promises: a model of the shipped format becomes a folder of that format; any other one a single file
in the original key names, whatever it came from. Tokenizer, sizes and licences go along.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from diffusion.info import CONFIG_NAME, is_shipped_format, read_config
from diffusion.model import LinearPreview, Model
from diffusion.text.thesaurus import THESAURUS_NAME
from diffusion.train.state import write_atomically
from diffusion.train.tuning.originals import single_file
from diffusion.train.tuning.recipe import Recipe, TuningError
from diffusion.train.tuning.subject import Subject
from diffusion.train.tuning.words import captions_context

# Where the base was learned from openly licensed art, its list must go along; so must the words
# that it reads for those it does not know.
_BESIDE: Final = ("tokenizer.json", "THIRD_PARTY_ART.md", THESAURUS_NAME, "WORDNET_LICENSE")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Full:
    """A model in training (a `Trainable`): its U-Net, and with `text` its text encoder."""

    subject: Subject
    recipe: Recipe

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained."""
        networks: dict[str, nn.Module] = {"unet": self.subject.unet}
        if self.recipe.text:
            networks["text"] = self.subject.encoder.model
        return networks

    @property
    def trains_text(self) -> bool:
        """Whether captions are encoded anew in every step."""
        return self.recipe.text

    def worded(self, caption: str) -> str:
        """Return the caption as it is learned: as it stands."""
        return caption

    def context(self, captions: Sequence[str]) -> Tensor:
        """Return N x T x D states, with gradients."""
        return captions_context(self.subject.encoder, captions)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let the weights want gradients for the length of the block."""
        for network in self.networks.values():
            network.requires_grad_(requires_grad=True)
        try:
            yield
        finally:
            for network in self.networks.values():
                network.requires_grad_(requires_grad=False)

    def for_painting(self, model: Model, folder: Path) -> Model:
        """Return a model that paints as it is now."""
        del folder
        return replace(model)

    def write(self, out: Path, weights: Mapping[str, Tensor], notes: Mapping[str, str]) -> Path:
        """Write the whole model in half precision; `weights` by the names of `networks`."""
        networks: dict[str, dict[str, Tensor]] = {
            "unet": dict(self.subject.unet.state_dict()),
            "text": dict(self.subject.encoder.model.state_dict()),
            "vae": dict(self.subject.vae.state_dict()),
        }
        for name, tensor in weights.items():
            part, _, rest = name.partition(".")
            networks[part][rest] = tensor
        return write_model(out, self.subject, networks, notes)


def write_model(
    out: Path,
    subject: Subject,
    networks: Mapping[str, Mapping[str, Tensor]],
    notes: Mapping[str, str],
    preview: LinearPreview | None = None,
) -> Path:
    """Write a model whose networks ("unet", "vae", "text") have these weights, as a folder or file.

    `preview` replaces the map that previews are made with (the shipped format alone keeps one).
    """
    if is_shipped_format(subject.source):
        return _write_folder(out, subject, networks, notes, preview)
    tensors, metadata = single_file(subject, networks)
    halves = {name: half(name, tensor) for name, tensor in tensors.items()}
    write_atomically(out, halves, {**metadata, **notes})
    return out


def half(name: str, tensor: Tensor) -> Tensor:
    """Return a weight in half precision; TuningError where its numbers are too large for that."""
    if not tensor.is_floating_point() or name in ("betas", "scale_factor"):
        return tensor.cpu()
    narrow = tensor.detach().cpu().half()
    if not bool(torch.isfinite(narrow).all()):
        raise TuningError(
            f"{name} has numbers that half precision cannot hold: the training went wrong. Lower "
            "the learning rate and begin again."
        )
    return narrow


def _write_folder(
    out: Path,
    subject: Subject,
    networks: Mapping[str, Mapping[str, Tensor]],
    notes: Mapping[str, str],
    preview: LinearPreview | None,
) -> Path:
    linear = preview or subject.model.preview
    if not isinstance(linear, LinearPreview):
        raise TuningError(f"{subject.source} keeps no map for previews: it is damaged.")
    prefixes = {
        "unet": "model.diffusion_model.",
        "vae": "first_stage_model.",
        "text": "cond_stage_model.transformer.text_model.",
    }
    tensors: dict[str, Tensor] = {"preview.weight": linear.weight, "preview.bias": linear.bias}
    for part, state in networks.items():
        for name, tensor in state.items():
            tensors[prefixes[part] + name.removeprefix("text_model.")] = tensor
    path = out / "model.safetensors"
    halves = {name: half(name, tensor) for name, tensor in tensors.items()}
    write_atomically(path, halves, {"format": "pt", **notes})
    for name in _BESIDE:
        if (subject.source / name).is_file():
            shutil.copyfile(subject.source / name, out / name)
    base = read_config(subject.source)
    config = {
        **base,
        "name": alias_of(out.name),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "training": {"base": subject.model.info.name, **notes},
    }
    (out / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return out


def alias_of(name: str) -> str:
    """Return a name that configurations can hold, made from a file's."""
    return re.sub("[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64] or "model"
