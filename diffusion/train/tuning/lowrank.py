"""Low-rank changes of layers (LoRA, Hu et al. 2021) while they are trained, and as a file.

A layer's output gets (alpha / rank) up(down(x)) on top, section 4.1: down starts at random, up at
zero, so that training begins at the model itself. Files are spelled as kohya's scripts write them,
which all programs of the field read. Promises: no weight of the model is written; leaving the block
in which the factors are attached gives back the bits of before.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.adapters.names import diffusers_names
from diffusion.model import Model
from diffusion.networks.attention import SpatialTransformer
from diffusion.networks.blocks import Downsample, ResBlock, Upsample
from diffusion.networks.unet import UNet
from diffusion.train.state import write_atomically
from diffusion.train.tuning.recipe import Recipe, TuningError
from diffusion.train.tuning.subject import Subject
from diffusion.train.tuning.words import captions_context

# What kohya's scripts change in a text transformer: its attention and feed-forward layers.
_TEXT_LAYERS: Final = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
_VERSIONS: Final[Mapping[str, str]] = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}


class Factors(nn.Module):
    """The two factors of one layer's change, in float32 on its device.

    down: rank x in (x h x w for convolutions), up: out x rank (x 1 x 1). `name`: in the file.
    """

    def __init__(
        self,
        layer: nn.Linear | nn.Conv2d,
        name: str,
        *,
        rank: int,
        alpha: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.name, self.scale = name, alpha / rank
        # In a list, so that the layer does not become a part of this module.
        self._layer = [layer]
        shape = layer.weight.shape
        points = (1,) * (len(shape) - 2)
        # Uniform within 1 / sqrt(fan in), as linear layers themselves begin.
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        down = (torch.rand(rank, *shape[1:], generator=generator) * 2 - 1) * bound
        self.down = nn.Parameter(down.to(layer.weight.device))
        self.up = nn.Parameter(torch.zeros(shape[0], rank, *points, device=layer.weight.device))

    @property
    def layer(self) -> nn.Linear | nn.Conv2d:
        """The layer that is changed."""
        return self._layer[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return what comes on top of the layer's output for its input x."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return functional.linear(functional.linear(x, self.down), self.up) * self.scale
        stride, padding = (cast(tuple[int, int], each) for each in (layer.stride, layer.padding))
        narrow = functional.conv2d(x, self.down, None, stride, padding)
        return functional.conv2d(narrow, self.up) * self.scale

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Change the layer's output for the length of the block."""
        handle = self.layer.register_forward_hook(self._add)
        try:
            yield
        finally:
            handle.remove()

    def _add(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        del layer
        return output + cast(Tensor, self(inputs[0]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LowRank:
    """A LoRA of a model in training (a `Trainable`)."""

    subject: Subject
    recipe: Recipe
    factors: nn.ModuleList

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained."""
        return {"lora": self.factors}

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
        """Change the model for the length of the block."""
        with ExitStack() as stack:
            for each in self.factors:
                stack.enter_context(cast(Factors, each).attached())
            yield

    def for_painting(self, model: Model, folder: Path) -> Model:
        """Return a model that paints as it is now, inside `attached`."""
        del folder
        return replace(model)

    def write(self, out: Path, weights: Mapping[str, Tensor], notes: Mapping[str, str]) -> Path:
        """Write a file in half precision; `weights` by the names of `networks`."""
        return write_lora(out, self, weights, notes)


def lowrank(subject: Subject, recipe: Recipe) -> LowRank:
    """Make the factors of every layer that the recipe names; drawn by its seed."""
    generator = torch.Generator().manual_seed(recipe.seed)
    named = unet_layers(subject, convolutions=recipe.convolutions)
    if recipe.text:
        named |= text_layers(subject)
    factors = [
        Factors(layer, name, rank=recipe.rank, alpha=recipe.alpha, generator=generator)
        for name, layer in named.items()
    ]
    return LowRank(subject=subject, recipe=recipe, factors=nn.ModuleList(factors))


def unet_layers(subject: Subject, *, convolutions: bool) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers of the U-Net to change, by kohya's names: those of its transformers, and
    with `convolutions` those of the residual blocks and of what changes the resolution.
    """
    unet = subject.unet
    kinds: tuple[type[nn.Module], ...] = (SpatialTransformer,)
    if convolutions:
        kinds += (ResBlock, Downsample, Upsample)
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for outer, block in unet.named_modules():
        for below, layer in block.named_modules() if isinstance(block, kinds) else ():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                name = _spelled(unet, f"{outer}.{below}", original=subject.has_sizes)
                found[f"lora_unet_{name}"] = layer
    if not found:
        raise TuningError(f"{subject.model.info.name} has no transformer blocks to change.")
    return found


def _spelled(unet: UNet, name: str, *, original: bool) -> str:
    # kohya's scripts name the blocks of SDXL as its authors did, those of others as diffusers.
    theirs = name if original else diffusers_names(unet, name)[0]
    return theirs.replace(".", "_")


def text_layers(subject: Subject) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers of the text encoder to change, by kohya's names."""
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for name, layer in subject.encoder.model.named_modules():
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in _TEXT_LAYERS:
            bare = name.removeprefix("text_model.").replace(".", "_")
            found[f"lora_te_text_model_{bare}"] = layer
    return found


def write_lora(
    out: Path,
    trained: LowRank,
    weights: Mapping[str, Tensor],
    notes: Mapping[str, str],
    *,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write kohya's format: three tensors a layer, and metadata that other programs show.

    `weights` are named "lora.<number>.down" and "lora.<number>.up".
    """
    tensors: dict[str, Tensor] = {}
    for number, each in enumerate(trained.factors):
        name = cast(Any, each).name
        for part in ("down", "up"):
            factor = weights[f"lora.{number}.{part}"].detach().cpu()
            tensors[f"{name}.lora_{part}.weight"] = factor.to(dtype)
        tensors[f"{name}.alpha"] = torch.tensor(trained.recipe.alpha, dtype=dtype)
    write_atomically(out, tensors, {**_metadata(trained), **notes})
    return out


def _metadata(trained: LowRank) -> dict[str, str]:
    recipe, model = trained.recipe, trained.subject.model
    version = _VERSIONS.get(model.family, model.family)
    predicts_v = model.noise_schedule.prediction_type == "v_prediction"
    # As kohya's scripts mark what predicts velocity.
    suffix = "_v" if predicts_v and model.family in ("sd1", "sd2") else ""
    told = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(recipe.rank),
        "ss_network_alpha": str(recipe.alpha),
        "ss_base_model_version": version + suffix,
        "ss_sd_model_name": model.info.name,
        "ss_v2": str(model.family == "sd2"),
        "ss_learning_rate": str(recipe.learning_rate),
        "ss_steps": str(recipe.steps),
        "ss_seed": str(recipe.seed),
        "ss_min_snr_gamma": str(recipe.gamma),
    }
    if recipe.convolutions:
        told["ss_network_args"] = f'{{"conv_dim": "{recipe.rank}", "conv_alpha": "{recipe.alpha}"}}'
    return told
