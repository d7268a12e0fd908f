"""A model: networks with weights, ready to paint.

Promises: loading is strict (every key placed or named in the error), reads safetensors only, and
refuses what is damaged before memory is taken. Never downloads anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

from diffusion.errors import CheckpointError
from diffusion.files import checkpoint_file, sha256_of
from diffusion.info import ModelInfo, describe_model
from diffusion.networks.unet import UNet, UNetConfig
from diffusion.networks.vae import AutoencoderKL, VAEConfig
from diffusion.schedules import NoiseSchedule
from diffusion.text import Conditioning, TextConfig, TextEncoder, build_text_model

_Sizes = TypeVar("_Sizes", UNetConfig, VAEConfig, TextConfig)
_PREFIXES = {
    "model.diffusion_model.": "unet",
    "first_stage_model.": "vae",
    "cond_stage_model.transformer.text_model.": "text",
    "preview.": "preview",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The linear decoder for previews: one convolution from latents to patches of pixels.

    weight: 3p^2 x z x k x k with k odd, bias: 3p^2, p pixels a side of a latent position.
    """

    weight: Tensor
    bias: Tensor

    def images(self, latents: Tensor) -> Tensor:
        """Map N x z x h x w latents to N x 3 x ph x pw pictures, about [-1, 1]."""
        patch = round((len(self.bias) // 3) ** 0.5)
        reach = self.weight.shape[-1] // 2
        # Borders continue outwards, as in the pictures that the map was fitted to.
        padded = torch.nn.functional.pad(latents, (reach,) * 4, mode="replicate")
        patches = torch.nn.functional.conv2d(padded, self.weight, self.bias)
        return torch.nn.functional.pixel_shuffle(patches, patch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Everything that belongs to one checkpoint. Immutable: many jobs share it."""

    info: ModelInfo
    backbone: UNet
    vae: AutoencoderKL
    text: TextEncoder
    noise_schedule: NoiseSchedule
    preview: Preview
    device: torch.device
    dtype: torch.dtype

    @property
    def family(self) -> str:
        """The architecture's short name: "emoji", "sd1", …"""
        return self.info.family

    def encode_prompts(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Encode prompts to conditioning: .context N x T x D, .pooled N x P or None."""
        return self.text.encode(prompts, clip_skip)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Return the C x h x w shape of the latents of one picture."""
        scale = self.vae.config.downscale
        return self.vae.config.z_channels, height // scale, width // scale


def load_model(source: str | Path, *, device: str = "cpu", dtype: str = "float32") -> Model:
    """Load the shipped model ("emoji") or a folder in its format.

    Raises UnknownModelError when there is no such model, CheckpointError when its files are
    missing, damaged or of another shape than its configuration says.
    """
    info = describe_model(source)
    folder = Path(info.path)
    config = _read_config(folder / "config.json")
    target, precision = torch.device(device), _dtype(dtype)
    path = checkpoint_file(folder)
    if info.sha256 is not None and sha256_of(path) != info.sha256:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the one in config.json. "
            "Copy the file again from where it came."
        )
    with torch.device("meta"):
        unet = UNet(_build(UNetConfig, config, "unet", folder))
        vae = AutoencoderKL(_build(VAEConfig, config, "vae", folder))
        text_sizes = _build(TextConfig, config, "text", folder)
        text_model = build_text_model(text_sizes)
    tensors = _read_tensors(path, precision)
    _restore_positions(text_model)
    networks: dict[str, nn.Module] = {"unet": unet, "vae": vae, "text": text_model}
    for part, network in networks.items():
        _place(network, tensors[part], path=path, part=part)
        network.to(device=target).eval().requires_grad_(False)
    return Model(
        info=info,
        backbone=unet,
        vae=vae,
        text=TextEncoder(
            tokenizer=_tokenizer(folder / "tokenizer.json"), model=text_model, config=text_sizes
        ),
        noise_schedule=NoiseSchedule.from_config(config["noise_schedule"]),
        # Previews are worked out on the CPU, beside the device's own work.
        preview=Preview(
            weight=tensors["preview"]["weight"].float(), bias=tensors["preview"]["bias"].float()
        ),
        device=target,
        dtype=precision,
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error


def _build(kind: type[_Sizes], config: Mapping[str, Any], part: str, folder: Path) -> _Sizes:
    try:
        sizes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in config[part].items()
        }
        return kind(**sizes)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f'{folder / "config.json"}: section "{part}" does not describe this network: {error}'
        ) from error


def _dtype(name: str) -> torch.dtype:
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in known:
        raise ValueError(f"dtype is {name!r}; choose one of {', '.join(known)}")
    return known[name]


def _read_tensors(path: Path, dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    """Read every tensor, cast, sorted by the network it belongs to."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PREFIXES.values()}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a dictionary
                part, name = _split_key(key, path)
                parts[part][name] = file.get_tensor(key).to(dtype)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no whole safetensors file: {error}. Copy it again from where it came."
        ) from error
    return parts


def _split_key(key: str, path: Path) -> tuple[str, str]:
    for prefix, part in _PREFIXES.items():
        if key.startswith(prefix):
            return part, key.removeprefix(prefix)
    raise CheckpointError(f"{path} holds the tensor {key!r}, which belongs to no network here.")


def _place(network: nn.Module, tensors: Mapping[str, Tensor], *, path: Path, part: str) -> None:
    """Put tensors into a network built on the meta device; every key and shape must match."""
    expected = network.state_dict()
    # transformers keeps the text model below `text_model.` in some versions and flat in others.
    prefix = "text_model." if any(name.startswith("text_model.") for name in expected) else ""
    named = {prefix + name: tensor for name, tensor in tensors.items()}
    missing, unknown = expected.keys() - named.keys(), named.keys() - expected.keys()
    wrong = [n for n in expected.keys() & named.keys() if expected[n].shape != named[n].shape]
    if missing or unknown or wrong:
        raise CheckpointError(
            f"{path} does not fit the {part} of its configuration: "
            f"missing {_some(missing)}; unknown {_some(unknown)}; wrong shape {_some(wrong)}."
        )
    bad = [name for name, tensor in named.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise CheckpointError(f"{path} holds numbers that are not finite in {_some(bad)}.")
    network.load_state_dict(named, assign=True)


def _some(names: Sequence[str] | set[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (", ".join(listed[:3]) + more) or "none"


def _restore_positions(text_model: nn.Module) -> None:
    """Rebuild the buffer of positions, which is no weight and so never comes from a file."""
    embeddings: Any = getattr(text_model, "text_model", text_model).embeddings
    positions = embeddings.position_embedding.num_embeddings
    embeddings.register_buffer("position_ids", torch.arange(positions)[None], persistent=False)


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # the library raises bare Exception for a malformed file
        raise CheckpointError(f"{path} is no tokenizer: {error}") from error
