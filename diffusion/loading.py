"""From files to a model: the shipped one, a folder of components, or one .safetensors file.

Promises: what a file is comes from its contents; loading is strict; networks are built without
memory and filled tensor by tensor. Never downloads anything, never opens a pickle.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from diffusion.addon_files import enumerate_files
from diffusion.addons import Addons
from diffusion.checkpoints import Checkpoint, Part, open_checkpoint
from diffusion.checkpoints.load import load_part
from diffusion.checkpoints.reading import Reading
from diffusion.errors import CheckpointError, OutOfMemoryError
from diffusion.foreign import info_of
from diffusion.foreign_text import load_text
from diffusion.info import ModelInfo, describe_model, is_shipped_format, model_path
from diffusion.kernels.layout import arrange
from diffusion.model import (
    Backbone,
    FirstStage,
    LinearPreview,
    Model,
    PixelPreview,
    Preview,
    TinyPreview,
)
from diffusion.networks.configs import (
    DDPMConfig,
    SafetyConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.pixels import PixelSpace
from diffusion.networks.tiny import TinyDecoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.networks.vq import AutoencoderVQ
from diffusion.safety import SafetyChecker
from diffusion.schedules import PREDICTION_TYPES, NoiseSchedule
from diffusion.shipped import load_shipped
from diffusion.vouching import Vouch, anybody

_Network = TypeVar("_Network", bound=nn.Module)
_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# How latents look as colours, fitted by the field to each family's autoencoder: z x 3 each.
_COLOURS: Final[Mapping[str, tuple[tuple[float, float, float], ...]]] = {
    "sd": (
        (0.298, 0.207, 0.208),
        (0.187, 0.286, 0.173),
        (-0.158, 0.189, 0.264),
        (-0.184, -0.271, -0.473),
    ),
    "sdxl": (
        (0.3920, 0.4054, 0.4549),
        (-0.2634, -0.0196, 0.0653),
        (0.0568, 0.1687, -0.0755),
        (-0.3112, -0.2359, -0.2076),
    ),
}


def load_model(
    source: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    prediction_type: str | None = None,
    vae: str | Path | None = None,
    preview: str | Path | None = None,
    loras: str | Path | None = None,
    controls: str | Path | None = None,
    embeddings: str | Path | None = None,
    offload: bool = False,
    vouch: Vouch = anybody,
) -> Model:
    """Load the shipped model ("emoji"), a folder, or a .safetensors file.

    `prediction_type` overrides what the checkpoint says or seems to be. `vae` and `preview` name an
    autoencoder and a tiny one (TAESD) to use instead of its own; `loras`, `controls` and
    `embeddings` the folders of what its jobs may ask for by name. `offload` leaves the weights in
    host memory, mapped from their files where these hold them as wanted: an `Engine` brings them to
    `device` when somebody asks for the model. `vouch` makes the block inside of which a file beside
    the model is read. Raises UnknownModelError when there is no such model,
    CheckpointError when its files are missing, damaged, or no model, OutOfMemoryError when the
    device has no room for it.
    """
    target, precision = torch.device(device), _dtype(dtype)
    home = torch.device("cpu") if offload else target
    addons = Addons(
        loras=enumerate_files(_path(loras)), controls=enumerate_files(_path(controls)), vouch=vouch
    )
    path = model_path(source)
    try:
        if is_shipped_format(path):
            small = load_shipped(
                describe_model(path), addons, device=home, dtype=precision,
                embeddings=_path(embeddings),
            )  # fmt: skip
            model = replace(small, device=target)
        else:
            model = _foreign(
                path, addons, target, precision,
                home=home, prediction_type=prediction_type, vae=_path(vae),
                preview=_path(preview), embeddings=_path(embeddings),
            )  # fmt: skip
        arrange(model.backbone, target, precision)
        arrange(model.vae, target, model.vae_dtype)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"{path} does not fit into the memory of {device} ({error}); choose a smaller model."
        ) from None
    return model


def _foreign(
    path: Path, addons: Addons, target: torch.device, precision: torch.dtype,
    *, home: torch.device, prediction_type: str | None, vae: Path | None,
    preview: Path | None, embeddings: Path | None,
) -> Model:  # fmt: skip
    """Load somebody else's checkpoint for a device, its weights into `home`."""
    with _collector_paused():
        found = open_checkpoint(path)
        if vae is not None:
            # Its own, if it has one, is not even read.
            found = replace(found, parts={**found.parts, "vae": _own_vae(vae)})
        info = info_of(found)
        with Reading() as reading:
            model = _assemble(
                found, info, addons, target, precision, reading,
                home=home, embeddings=embeddings,
            )  # fmt: skip
        if preview is not None:
            model = replace(model, preview=_own_preview(preview))
    wanted = prediction_type or found.prediction_type or _try_prediction(model)
    if wanted not in PREDICTION_TYPES:
        raise CheckpointError(
            f"prediction_type is {wanted!r:.40}; choose one of {', '.join(PREDICTION_TYPES)}"
        )
    return replace(model, noise_schedule=replace(model.noise_schedule, prediction_type=wanted))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let no collection of cycles run meanwhile.

    Thousands of modules and tensors are made and none is thrown away: looking through them again
    and again took a third of the time of loading Stable Diffusion XL.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _assemble(
    found: Checkpoint, info: ModelInfo, addons: Addons, device: torch.device, dtype: torch.dtype,
    reading: Reading, *, home: torch.device, embeddings: Path | None,
) -> Model:  # fmt: skip
    parts = found.parts
    vae_part = parts.get("vae")
    vae_dtype = dtype
    if vae_part is not None and vae_part.upcast and dtype == torch.float16:
        vae_dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    # The largest first, and all before any network is built: that takes as long.
    reading.check(parts["unet"], home, dtype)
    for name in ("text", "text_2"):
        if name in parts:
            reading.check(parts[name], home, dtype)
    backbone = _backbone(parts["unet"], home, dtype, reading)
    vae: FirstStage
    if vae_part is None and isinstance(backbone.config, UNetConfig):
        raise CheckpointError(f"{found.path} has no autoencoder: name one as the model's vae")
    if vae_part is None:
        vae = PixelSpace(backbone.config.in_channels)
    else:
        vae = load_vae(vae_part, home, vae_dtype, reading)
    config = backbone.config
    safety = parts.get("safety")
    micro = config.added_dim if isinstance(config, UNetConfig) else 0
    return Model(
        info=info,
        backbone=backbone,
        vae=vae,
        text=load_text(found, home, dtype, reading, embeddings=embeddings, vouch=addons.vouch),
        noise_schedule=NoiseSchedule.from_diffusers(found.schedule),
        preview=_preview(found.family or "", vae),
        device=device,
        dtype=dtype,
        vae_dtype=vae_dtype,
        addons=addons,
        micro_conditioning=(
            "none" if not micro else "aesthetic" if found.requires_aesthetics_score else "sizes"
        ),
        size_dim=config.size_dim if isinstance(config, UNetConfig) else 0,
        zero_empty_negative=found.force_zeros_for_empty_prompt,
        guidance_embedded=isinstance(config, UNetConfig) and config.guidance_dim > 0,
        safety=None if safety is None else _safety(safety),
    )


def _backbone(part: Part, device: torch.device, dtype: torch.dtype, reading: Reading) -> Backbone:
    config = part.config
    network: Backbone
    with torch.device("meta"):
        if isinstance(config, UNetConfig):
            network = UNet(config)
        elif isinstance(config, DDPMConfig):
            network = DDPMUNet(config)
        else:
            raise CheckpointError(f"the U-Net is described as a {type(config).__name__}")
    return _filled(part, network, device, dtype, reading)


def load_vae(
    part: Part, device: torch.device, dtype: torch.dtype, reading: Reading | None = None
) -> AutoencoderKL | AutoencoderVQ:
    """Load a first stage from its part of a checkpoint."""
    if not isinstance(part.config, VAEConfig):
        raise CheckpointError(f"the autoencoder is described as a {type(part.config).__name__}")
    with torch.device("meta"):
        kind = AutoencoderVQ if part.config.kind == "vq" else AutoencoderKL
        network = kind(part.config)
    return _filled(part, network, device, dtype, reading)


def _own_vae(path: Path) -> Part:
    found = open_checkpoint(path)
    found.require("vae", "model")
    if "vae" not in found.parts:
        raise CheckpointError(f"{path} has no autoencoder")
    return found.parts["vae"]


def _own_preview(path: Path) -> TinyPreview:
    found = open_checkpoint(path)
    found.require("taesd")
    part = found.parts.get("taesd")
    if part is None or not isinstance(part.config, TinyVAEConfig):
        raise CheckpointError(f"{path} has no decoder: previews need the decoding half of TAESD")
    with torch.device("meta"):
        decoder = TinyDecoder(part.config)
    # Previews are worked out on the CPU, beside the device's own work.
    return TinyPreview(decoder=_filled(part, decoder, torch.device("cpu"), torch.float32))


def _safety(part: Part) -> SafetyChecker:
    if not isinstance(part.config, SafetyConfig):
        raise CheckpointError(f"the safety checker is described as a {type(part.config).__name__}")
    checker = SafetyChecker(part.config)
    return _filled(part, checker, torch.device("cpu"), torch.float32)


def _filled(
    part: Part, network: _Network, device: torch.device, dtype: torch.dtype,
    reading: Reading | None = None,
) -> _Network:  # fmt: skip
    load_part(part, network, device, dtype, reading)
    return network


def _preview(family: str, vae: FirstStage) -> Preview:
    """Choose how unfinished pictures are shown: by a linear map of the latents to colours."""
    if isinstance(vae, PixelSpace):
        return PixelPreview()
    channels = vae.config.latent_channels
    colours = _COLOURS["sdxl" if family.startswith("sdxl") else "sd"]
    if channels == len(colours):
        weight = torch.tensor(colours).T[:, :, None, None].contiguous()
    else:
        # The three latents of the codebook models are a small picture themselves.
        weight = torch.eye(3, channels)[:, :, None, None].contiguous()
    return LinearPreview(weight=weight, bias=torch.zeros(3))


@torch.inference_mode()
def _try_prediction(model: Model) -> str:
    """Find out what a network predicts by asking it once, for files that do not tell.

    At the last timestep the input is nearly all noise: a network that predicts noise gives its
    input back, one that predicts velocity gives about -x0, far below it on a constant input
    (AUTOMATIC1111's test for Stable Diffusion 2).
    """
    if not isinstance(model.backbone, UNet) or model.backbone.config.context_dim is None:
        return "epsilon"
    x = torch.full((1, model.backbone.config.in_channels, 8, 8), 0.5)
    context = torch.full((1, 2, model.backbone.config.context_dim), 0.5)
    last = float(model.noise_schedule.num_train_timesteps - 1)
    # Where the weights are now, which may be host memory.
    there = next(model.backbone.parameters()).device
    output: Tensor = model.backbone(
        x.to(there, model.dtype), torch.tensor([last], device=there), context.to(there, model.dtype)
    )
    moved = (output.float().cpu() - x).mean()
    return "v_prediction" if float(moved) < -1 else "epsilon"


def _dtype(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise ValueError(f"dtype is {name!r}; choose one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
