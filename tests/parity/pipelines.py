"""Whole tiny pipelines of diffusers with random weights, one of every family, written in both
layouts and loaded by us from there.

Their networks have random weights of order one, their text encoders the real vocabulary. Everything
is built once a session.
"""

import shutil
import warnings
from atexit import register
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import diffusers
from safetensors.torch import save_file
from torch import nn

from diffusion.loading import load_model
from diffusion.model import Model
from tests.parity.addons import write_addons
from tests.parity.layouts import State, bert_single, ddpm_single
from tests.parity.parts import (
    COND,
    Parts,
    class_table,
    classes,
    latent,
    one_text,
    open_text,
    refiner,
    single,
    text_of_refiner,
    text_of_sd1,
    text_of_sd2,
    text_of_xl,
    two_texts,
    unconditional,
)
from tests.parity.schedulers import scheduler
from tests.parity.twins import fill

Layout = Literal["folder", "single"]
LAYOUTS: tuple[Layout, ...] = ("folder", "single")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """One family: the reference's pipeline, and where its weights lie in both layouts."""

    name: str
    pipeline: Any
    folder: Path
    single: Path

    def as_a(self, kind: str, **more: object) -> Any:  # noqa: ANN401 - a foreign class
        """Return another pipeline of diffusers around the same networks."""
        own = dict(self.pipeline.components)
        wanted = getattr(diffusers, kind).__init__.__code__.co_varnames
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = getattr(diffusers, kind)(**{k: v for k, v in own.items() if k in wanted}, **more)
        return _silent(made)


Spelt = Callable[[Parts], State]
# Of every system: diffusers' pipeline, its parts, its single file, and what else it is told.
SYSTEMS: Mapping[str, tuple[str, Callable[[], Parts], Spelt, Mapping[str, object]]] = {
    "sd1": ("StableDiffusionPipeline", one_text, partial(single, text_of_sd1), {}),
    "sd1-inpaint": (
        "StableDiffusionInpaintPipeline",
        partial(one_text, inputs=9),
        partial(single, text_of_sd1),
        {},
    ),
    "sd1-lcm": (
        "LatentConsistencyModelPipeline",
        partial(one_text, guidance=256),
        partial(single, text_of_sd1),
        {},
    ),
    "sd2": ("StableDiffusionPipeline", open_text, partial(single, text_of_sd2), {}),
    "sd2-v": ("StableDiffusionPipeline", open_text, partial(single, text_of_sd2), {}),
    "sdxl-turbo": ("StableDiffusionXLPipeline", two_texts, partial(single, text_of_xl), {}),
    "sdxl": ("StableDiffusionXLPipeline", two_texts, partial(single, text_of_xl), {}),
    "sdxl-inpaint": (
        "StableDiffusionXLInpaintPipeline",
        partial(two_texts, inputs=9),
        partial(single, text_of_xl),
        {},
    ),
    "sdxl-refiner": (
        "StableDiffusionXLImg2ImgPipeline",
        refiner,
        partial(single, text_of_refiner),
        {"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False},
    ),
    "ldm": (
        "LDMTextToImagePipeline",
        partial(latent, words=True),
        partial(single, lambda parts: bert_single(parts["bert"])),
        {},
    ),
    "ldm-uncond": (
        "LDMPipeline",
        partial(latent, words=False),
        partial(single, lambda _: {}),
        {},
    ),
    "ldm-class": (
        "LDMPipeline",
        classes,
        partial(single, lambda _: {f"{COND}embedding.weight": class_table()}),
        {},
    ),
    "ddpm": (
        "DDPMPipeline",
        lambda: {"unet": unconditional(pixels=True)},
        lambda parts: ddpm_single(parts["unet"]),
        {},
    ),
}
# The sampler that a family's folder comes with, where it is not Stable Diffusion's DDIM.
OWN: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sd1-lcm": ("lcm", {}),
    "sd2-v": (
        "ddim",
        {"prediction_type": "v_prediction", "spacing": "trailing", "rescale_betas_zero_snr": True},
    ),
    "sdxl-turbo": ("euler_a", {"spacing": "trailing"}),
    "ldm-uncond": ("ddim", {"beta_start": 0.0015, "beta_end": 0.0195}),
    "ldm-class": ("ddim", {"beta_start": 0.0015, "beta_end": 0.0195}),
    "ddpm": (
        "ddpm",
        {
            "beta_start": 1e-4,
            "beta_end": 0.02,
            "beta_schedule": "linear",
            "steps_offset": 0,
            "clip_sample": True,
        },
    ),
}
# Their single files do not tell how they were trained; people must.
UNTOLD = ("sd2-v", "sdxl-turbo", "sd1-lcm")
WITHOUT_CHECKER = ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline",
                   "LatentConsistencyModelPipeline")  # fmt: skip


@cache
def workplace() -> Path:
    """The folder of everything that is written; it goes with the process."""
    folder = Path(mkdtemp(prefix="easel-parity-"))
    register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def system(name: str) -> System:
    """Build one family's pipeline and write it in both layouts."""
    kind, build, spelt, options = SYSTEMS[name]
    parts = build()
    modules = [part for part in parts.values() if isinstance(part, nn.Module)]
    for number, module in enumerate(modules):
        fill(module, seed=31 + number)
        module.eval().requires_grad_(False)
    sampler, told = OWN.get(name, ("ddim", {}))
    parts["scheduler"] = scheduler(sampler, **told)
    if kind in WITHOUT_CHECKER:
        parts |= {"safety_checker": None, "feature_extractor": None}
        options = {**options, "requires_safety_checker": False}
    folder, file = workplace() / name, workplace() / f"{name}.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _silent(getattr(diffusers, kind)(**parts, **options))
        made.save_pretrained(folder, safe_serialization=True)
    save_file({k: v.contiguous() for k, v in spelt(parts).items()}, file)
    return System(name=name, pipeline=made, folder=folder, single=file)


@cache
def addons() -> Path:
    """The folder of the LoRAs, ControlNets and embeddings."""
    own = system("sd1").pipeline
    return write_addons(workplace() / "addons", own.unet, own.text_encoder)


@cache
def model(name: str, layout: Layout) -> Model:
    """Load one family from one layout."""
    where = system(name)
    beside = addons()
    # Random weights predict nothing that a trial could tell; folders tell.
    told = where.pipeline.scheduler.config.prediction_type if layout == "single" else None
    return load_model(
        getattr(where, layout),
        prediction_type=told,
        loras=beside / "loras",
        controls=beside / "controls",
        embeddings=beside / "embeddings",
    )


def _silent(made: Any) -> Any:  # noqa: ANN401 - a foreign class
    made.set_progress_bar_config(disable=True)
    return made
