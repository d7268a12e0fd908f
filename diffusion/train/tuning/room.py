"""How much memory and disk a run will take, worked out from shapes before it begins.

Promises: an estimate on the safe side, made without taking what it counts. What the backward pass
needs is what the forward pass saves, so a pass is walked on the meta device and asked.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from diffusion.available import available
from diffusion.networks.configs import UNetConfig, VAEConfig
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.train.tuning.recipe import Recipe, TuningError
from diffusion.train.tuning.subject import Subject

# Kernels' buffers and gradients of activations, beside what is saved.
_MARGIN: Final = 1.3
# Every trained number has a gradient and Adam's two moments beside it.
_COPIES: Final = 3
# The library's own, whatever is trained.
_BASE: Final = 64 << 20


@cache
def unet_bytes(config: UNetConfig, height: int, width: int, tokens: int) -> int:
    """Return the bytes that one row of height x width latent positions and `tokens` tokens keeps
    for the backward pass of a U-Net, in float32.
    """
    with torch.device("meta"):
        unet = UNet(config)
        x = torch.empty(1, config.in_channels, height, width)
        context = torch.empty(1, tokens, config.context_dim or 1)
        added = torch.empty(1, config.added_dim) if config.added_dim else None
        timesteps = torch.empty(1)
    return saved_bytes(unet, lambda: unet(x, timesteps, context, added))


@cache
def vae_bytes(config: VAEConfig, height: int, width: int) -> int:
    """Return the bytes that one picture of height x width pixels keeps for the backward pass of an
    autoencoder, in float32.
    """
    with torch.device("meta"):
        vae = AutoencoderKL(config)
        images = torch.empty(1, 3, height, width)
    return saved_bytes(vae, lambda: vae.decode(vae.encode(images)))


def saved_bytes(network: nn.Module, run: Callable[[], Tensor]) -> int:
    """Return the bytes that a forward pass on the meta device keeps for the backward pass."""
    weights = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.enable_grad():
        # The result is held: its graph keeps what was saved, so that no address is used twice.
        result = run()
    total = sum(kept.values())
    del result
    return total


def trained_bytes(networks: Mapping[str, nn.Module]) -> int:
    """Return the bytes of what is trained, in float32."""
    return 4 * sum(p.numel() for network in networks.values() for p in network.parameters())


def memory_needed(subject: Subject, recipe: Recipe, networks: Mapping[str, nn.Module]) -> int:
    """Return the bytes that training takes beside the model and the latents."""
    positions = max(1, subject.side(recipe.side) // subject.vae.config.downscale)
    config, tokens = subject.unet.config, subject.encoder.config.window
    row = unet_bytes(config, positions, positions, tokens)
    copies = _COPIES + (1 if recipe.average else 0)
    return int(_MARGIN * row * recipe.batch) + copies * trained_bytes(networks) + _BASE


def autoencoder_memory(subject: Subject, *, batch: int, side: int) -> int:
    """Return the bytes that training the first stage takes beside the model."""
    pixels = subject.side(side)
    row = vae_bytes(subject.vae.config, pixels, pixels)
    return int(_MARGIN * row * batch) + 5 * trained_bytes({"vae": subject.vae}) + _BASE


def disk_needed(recipe: Recipe, networks: Mapping[str, nn.Module], result: int) -> int:
    """Return the bytes that states and a result of `result` bytes take on disk, old and new."""
    copies = 3 + (1 if recipe.average else 0)
    return 2 * copies * trained_bytes(networks) + 2 * result + (4 << 20)


def check_device(subject: Subject, needed: int) -> None:
    """Raise TuningError when an accelerator has less free memory than training takes."""
    device = subject.model.device
    if device.type == "cpu":
        return  # The folder's own check tells, together with what is wrong with the pictures.
    free = available(device)
    if free < needed:
        raise TuningError(
            f"{device} has {free / 2**20:,.0f} MiB free and training takes about "
            f"{needed / 2**20:,.0f}: use a smaller batch."
        )
