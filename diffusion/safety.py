"""The safety checker that comes with Stable Diffusion: does a picture show what it should not?

Promises: the numbers and the verdict of the reference (Rombach et al. 2022; Radford et al. 2021 for
the vision transformer): a picture's CLIP embedding is held against fixed concept vectors, each with
its own threshold. Numbers that are not finite are no verdict: they raise NumericalError, where a
comparison would call the picture safe. Never changes a picture; what a verdict means is the
caller's to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel

from diffusion.errors import NumericalError
from diffusion.networks.configs import SafetyConfig

# Means and deviations of CLIP's training pictures (Radford et al. 2021).
_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)
# A picture that is close to a special concept is judged this much more strictly from then on.
_STRICTER: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Cosines of N pictures with the special concepts (N x S) and with the others (N x C)."""

    special: Tensor
    concepts: Tensor


class _Tower(nn.Module):
    """Adds the one level by which files and transformers' module names differ."""

    def __init__(self, vision_model: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision_model


class SafetyChecker(nn.Module):
    """A CLIP vision transformer with concept vectors; its keys are those of the file."""

    def __init__(self, config: SafetyConfig) -> None:
        super().__init__()
        self.config = config
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.feed_forward,
                image_size=config.image_size,
                patch_size=config.patch_size,
                projection_dim=config.projection_dim,
                hidden_act=config.activation,
            )
        )
        nested = hasattr(tower, "vision_model")
        self.vision_model: nn.Module = tower if nested else _Tower(tower)
        self.visual_projection = nn.Linear(config.width, config.projection_dim, bias=False)
        for name, count in (
            ("concept_embeds", config.concepts),
            ("special_care_embeds", config.special_concepts),
        ):
            vectors = torch.ones(count, config.projection_dim)
            self.register_parameter(name, nn.Parameter(vectors, requires_grad=False))
            thresholds = nn.Parameter(torch.ones(count), requires_grad=False)
            self.register_parameter(f"{name}_weights", thresholds)

    @torch.inference_mode()
    def check(self, pictures: Sequence[Image.Image]) -> list[bool]:
        """Return for each picture whether any concept is above its threshold."""
        if not pictures:
            return []
        where = self.visual_projection.weight
        pixels = pixel_values(pictures, size=self.config.image_size)
        return self.verdicts(self(pixels.to(where.device, where.dtype)))

    def forward(self, pixels: Tensor) -> Scores:
        """Map N x 3 x size x size prepared pixels to their cosines."""
        tower = self.vision_model
        inner = tower.vision_model if isinstance(tower, _Tower) else tower
        pooled = inner(pixel_values=pixels).pooler_output
        embedding = functional.normalize(self.visual_projection(pooled))
        special, concepts = (
            embedding @ functional.normalize(cast(Tensor, vectors)).t()
            for vectors in (self.special_care_embeds, self.concept_embeds)
        )
        return Scores(special=special.float().cpu(), concepts=concepts.float().cpu())

    def verdicts(self, scores: Scores) -> list[bool]:
        """Apply the thresholds: special concepts first, each hit making what follows stricter.

        Raises NumericalError when a number is not finite.
        """
        special = cast(Tensor, self.special_care_embeds_weights).float().cpu().numpy()
        concepts = cast(Tensor, self.concept_embeds_weights).float().cpu().numpy()
        numbers = (special, concepts, scores.special.numpy(), scores.concepts.numpy())
        if not all(np.isfinite(each).all() for each in numbers):
            raise NumericalError("the safety checker computed numbers that are not finite")
        found = []
        for near_special, near in zip(scores.special.numpy(), scores.concepts.numpy(), strict=True):
            stricter = np.float32(0)
            for cosine, threshold in zip(near_special, special, strict=True):
                if np.round(cosine - threshold + stricter, 3) > 0:
                    stricter = np.float32(_STRICTER)
            found.append(bool((np.round(near - concepts + stricter, 3) > 0).any()))
        return found


def pixel_values(pictures: Sequence[Image.Image], *, size: int) -> Tensor:
    """Prepare pictures for CLIP: N x 3 x size x size, normalised.

    The short side becomes `size` (bicubic), the middle square is cut out.
    """
    return torch.stack([_prepared(picture, size) for picture in pictures])


def _prepared(picture: Image.Image, size: int) -> Tensor:
    rgb = picture.convert("RGB")
    short = min(rgb.size)
    width, height = (size if side == short else int(size * side / short) for side in rgb.size)
    rgb = rgb.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    values = torch.from_numpy(np.array(rgb.crop((left, top, left + size, top + size))))
    scaled = values.permute(2, 0, 1).float() / 255
    return (scaled - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_DEVIATION).view(3, 1, 1)
