"""One picture, described once and painted by both sides.

The difference is measured before rounding, in steps of eight bits (1/255 of the range).
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion.generation import generate
from diffusion.model import Model
from diffusion.noise import PictureNoise
from diffusion.params import Params
from diffusion.pixels import pictures_from
from diffusion.plan import plan_for
from diffusion.schedules import NoiseSchedule, sampler_of
from tests.parity.pipelines import UNTOLD, Layout, model, system

SEED = 7
HASH = "0" * 64
# Where diffusers' SDE samplers draw.
BROWNIAN: Mapping[str, str] = {
    "dpmpp_sde": "scheduling_dpmsolver_sde.BrownianTreeNoiseSampler",
    "dpmpp_2m_sde": "scheduling_dpmsolver_multistep.randn_tensor",
    "dpmpp_3m_sde": "scheduling_dpmsolver_multistep.randn_tensor",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What both sides are asked for; `ours` and `theirs` are what only one of them is told."""

    prompt: str = "a red fox, not in the snow"
    negative_prompt: str | None = "blurry"
    steps: int = 4
    guidance_scale: float = 3.0
    sampler: str = "ddim"
    schedule: str = "uniform"
    width: int = 96
    height: int = 64
    images: int = 2
    strength: float | None = None
    masked: bool = False
    starts_white: bool = True
    ours: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)

    def params(self) -> Params:
        """Return what our side is asked for."""
        own: dict[str, Any] = {}
        if self.strength is not None:
            own |= {"init_image": HASH, "strength": self.strength}
        if self.masked:
            own |= {"mask": HASH}
        return Params(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt or "",
            seed=SEED,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler,
            schedule=self.schedule,
            width=self.width,
            height=self.height,
            images=self.images,
            **{**own, **self.ours},
        )


@cache
def photo(width: int = 96, height: int = 64, *, seed: int = 3) -> Image.Image:
    """A picture with soft and hard places."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(1, 3, 4, 6, generator=generator) * 2 - 1
    images = torch.nn.functional.interpolate(rough, size=(height, width), mode="bicubic")
    images[:, :, height // 3 : height // 2, : width // 2] *= -1
    return pictures_from(images)[0]


@cache
def stencil(width: int = 96, height: int = 64) -> Image.Image:
    """White where the picture is painted anew; its edges lie across the grid of the latents."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[height // 4 + 3 :, width // 3 + 5 :] = 255
    return Image.fromarray(mask)


def white(shot: Shot, with_: Model) -> Tensor | None:
    """Return the starting noise that both sides are given."""
    if not shot.starts_white:
        return None
    shape = (shot.images, *with_.latent_shape(shot.width, shot.height))
    return torch.randn(shape, generator=torch.Generator().manual_seed(99))


def paint_ours(
    shot: Shot, with_: Model, *, hints: Sequence[Image.Image] = ()
) -> tuple[Tensor, list[Image.Image]]:
    """Return N x 3 x H x W in [0, 1] before rounding, and the pictures."""
    exact: list[Tensor] = []

    def noted(images: Tensor) -> list[Image.Image]:
        exact.append(images.clone())
        return pictures_from(images)

    with patch("diffusion.preparing.pictures_from", noted):
        *_, last = generate(
            with_,
            shot.params(),
            white(shot, with_),
            init_image=None if shot.strength is None else photo(shot.width, shot.height),
            mask=stencil(shot.width, shot.height) if shot.masked else None,
            hints=hints,
        )
    assert last.pictures is not None
    values = torch.cat(exact)
    return ((values + 1) / 2).clamp(0, 1), list(last.pictures)


def paint_theirs(shot: Shot, pipe: Any, with_: Model) -> Tensor:  # noqa: ANN401 - a foreign class
    """Return N x 3 x H x W in [0, 1] by diffusers' pipeline."""
    count = shot.images
    asked: dict[str, Any] = {
        "num_inference_steps": shot.steps,
        "generator": [torch.Generator("cpu").manual_seed(SEED + i) for i in range(count)],
        "output_type": "pt",
        "prompt": [shot.prompt] * count,
        "guidance_scale": shot.guidance_scale,
        "width": shot.width,
        "height": shot.height,
        "latents": white(shot, with_),
    }
    if shot.negative_prompt is not None:
        asked["negative_prompt"] = [shot.negative_prompt] * count
    if shot.strength is not None:
        asked |= {"image": [photo(shot.width, shot.height)] * count, "strength": shot.strength}
    if shot.masked:
        asked["mask_image"] = [stencil(shot.width, shot.height)] * count
    asked |= shot.theirs
    asked = {k: v for k, v in asked.items() if v is not None}
    with warnings.catch_warnings(), brownian(shot, pipe, with_), torch.inference_mode():
        warnings.simplefilter("ignore")
        images = pipe(**asked).images
    if isinstance(images, np.ndarray):
        return torch.from_numpy(images).permute(0, 3, 1, 2)
    return torch.as_tensor(images)


@contextmanager
def brownian(shot: Shot, pipe: Any, with_: Model) -> Iterator[None]:  # noqa: ANN401
    """Let the SDE samplers draw from our Brownian paths: diffusers' own noise is of its step count,
    or of a tree from one seed.
    """
    if shot.sampler not in BROWNIAN:
        yield
        return
    shape = with_.latent_shape(shot.width, shot.height)
    paths = [PictureNoise(shape, seed=SEED + i) for i in range(shot.images)]

    # Its levels have float32's digits, which a path as rough as this one would notice.
    sigmas = plan_for(with_, shot.params(), has_image=shot.strength is not None).sigmas

    def draw(*_: object, **__: object) -> Tensor:
        told = pipe.scheduler
        at, half = divmod(told.step_index - (told.begin_index or 0), told.order)
        start, end = sigmas[at], sigmas[at + 1]
        if half < told.order - 1:
            # DPM++ SDE draws for the middle of a step first.
            end = math.sqrt(start * end)
        return torch.stack([path.between(start, end) for path in paths])

    place = f"diffusers.schedulers.{BROWNIAN[shot.sampler]}"
    # The tree is a class: made of whatever it is, it answers with a draw.
    with patch(place, draw if place.endswith("randn_tensor") else lambda *_, **__: draw):
        yield


def scheduled(with_: Model, scheduler: Any, shot: Shot) -> Model:  # noqa: ANN401 - a foreign class
    """Return our model with the noise schedule that a configuration of diffusers describes."""
    config = {**scheduler.config, "_class_name": type(scheduler).__name__}
    assert sampler_of(config) == shot.sampler
    return replace(with_, noise_schedule=NoiseSchedule.from_diffusers(config))


def compare(
    name: str,
    layout: Layout,
    shot: Shot,
    *,
    scheduler: Any = None,  # noqa: ANN401 - a foreign class
    pipe: Any = None,  # noqa: ANN401 - a foreign class
    hints: Sequence[Image.Image] = (),
) -> float:
    """Paint a shot on both sides; return the largest difference in steps of eight bits.

    `pipe` is the pipeline of diffusers where it is not the family's own.
    """
    ours, pipe = model(name, layout), pipe or system(name).pipeline
    before = pipe.scheduler
    if scheduler is not None or (layout == "single" and name in UNTOLD):
        ours = scheduled(ours, scheduler or before, shot)
    pipe.scheduler = scheduler or before
    try:
        wanted = paint_theirs(shot, pipe, ours)
    finally:
        pipe.scheduler = before
    return difference(shot, ours, wanted, hints=hints)


def difference(
    shot: Shot, with_: Model, wanted: Tensor, *, hints: Sequence[Image.Image] = ()
) -> float:
    """Paint a shot on our side; return the largest difference in steps of eight bits."""
    exact, pictures = paint_ours(shot, with_, hints=hints)
    assert exact.shape == wanted.shape
    assert_telling(wanted)
    assert_rounded(pictures, wanted)
    return float((exact - wanted).abs().max()) * 255


def assert_telling(images: Tensor) -> None:
    """Pictures of one colour, or cut off at its ends, could hide a difference; so could equal
    ones.
    """
    inside = (images > 0) & (images < 1)
    assert float(inside.float().mean()) > 0.5
    assert float(images.std()) > 0.05
    if len(images) > 1:
        assert float((images[0] - images[1]).abs().mean()) > 0.02


def assert_rounded(pictures: Sequence[Image.Image], wanted: Tensor) -> None:
    """The eight-bit pictures are one step apart at most."""
    theirs = (wanted * 255).round().permute(0, 2, 3, 1).numpy().astype(np.int16)
    ours = np.stack([np.asarray(each, dtype=np.int16) for each in pictures])
    assert int(np.abs(ours - theirs).max()) <= 1
