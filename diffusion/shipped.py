"""The shipped model's own format: a folder of config.json, tokenizer.json and model.safetensors.

A thesaurus.json beside them says what to read for words that the model does not know.

Promises: loading is strict (every key placed or named in the error) and refuses what is damaged
before memory is taken.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

from diffusion.addon_files import enumerate_files
from diffusion.addons import Addons
from diffusion.errors import CheckpointError
from diffusion.files import checkpoint_file, sha256_of
from diffusion.info import ModelInfo, read_config
from diffusion.model import LinearPreview, Model
from diffusion.networks.configs import TextConfig, UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.schedules import NoiseSchedule
from diffusion.text import TextEncoder, build_text_model
from diffusion.text.inversions import Inversions
from diffusion.text.thesaurus import find_thesaurus

_Sizes = TypeVar("_Sizes", UNetConfig, VAEConfig, TextConfig)
_PREFIXES = {
    "model.diffusion_model.": "unet",
    "first_stage_model.": "vae",
    "cond_stage_model.transformer.text_model.": "text",
    "preview.": "preview",
}


def load_shipped(
    info: ModelInfo,
    addons: Addons,
    *,
    device: torch.device,
    dtype: torch.dtype,
    embeddings: Path | None = None,
) -> Model:
    """Load a folder that holds "format": 1; CheckpointError when it is not whole.

    `embeddings`: the folder of textual inversions that its prompts may name.
    """
    folder = Path(info.path)
    config = read_config(folder)
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
    tensors = _read_tensors(path, dtype)
    _restore_positions(text_model)
    networks: dict[str, nn.Module] = {"unet": unet, "vae": vae, "text": text_model}
    for part, network in networks.items():
        _place(network, tensors[part], path=path, part=part)
        network.to(device=device).eval().requires_grad_(False)
    schedule: Any = config["noise_schedule"]
    return Model(
        info=info,
        backbone=unet,
        vae=vae,
        text=TextEncoder(
            tokenizer=_tokenizer(folder / "tokenizer.json"),
            model=text_model,
            config=text_sizes,
            thesaurus=find_thesaurus(folder),
            inversions=Inversions(
                enumerate_files(embeddings), (text_sizes.width,), vouch=addons.vouch
            ),
        ),
        noise_schedule=NoiseSchedule.from_config(schedule),
        # Previews are worked out on the CPU, beside the device's own work.
        preview=LinearPreview(
            weight=tensors["preview"]["weight"].float(), bias=tensors["preview"]["bias"].float()
        ),
        device=device,
        dtype=dtype,
        vae_dtype=dtype,
        addons=addons,
    )


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
