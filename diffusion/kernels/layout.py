"""In which order the numbers of a feature map lie in memory: channel after channel (NCHW, PyTorch's
contiguous format) or position after position (NHWC, channels_last).

Promises that a network is laid out once, after its weights were loaded, by time and nothing else;
that not a bit of a weight changes; that a CPU is never asked. The layout of a network is that of
its convolutions' weights and is kept nowhere else: copies keep it, and a convolution of cuDNN or
oneDNN whose weights are channels_last gives channels_last maps whatever it is given.

NHWC is what tensor cores want of a convolution, and makes tokens of a map without a copy; but a
GroupNorm then reads few numbers in a row. Both are therefore timed together. As the choice alters
the last bits of a picture, NHWC must be faster by 10 %.

## What ran where
The choosing and the laying out are tested on a CPU with an invented clock, and so is that a network
keeps the layout from one end to the other; `time_layout` needs a GPU, and has not met one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.kernels.attention import milliseconds
from diffusion.kernels.dispatch import group_norm
from diffusion.networks.configs import ControlNetConfig, DDPMConfig, UNetConfig, VAEConfig

_FASTER: Final = 1.1
# Guided pictures have two rows.
_ROWS: Final = 2
# The sides that most pictures have: 512 pixels, 64 latents of them, and 128 for Stable Diffusion
# XL, which alone is told sizes in an added vector.
_PIXELS, _LATENTS, _LATENTS_XL = 512, 64, 128


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a network: channels, the groups they are normalised in, and positions a
    side.
    """

    channels: int
    groups: int
    side: int


@dataclass(frozen=True, slots=True)
class Convolving:
    """What the speed of a layout depends on."""

    levels: tuple[Level, ...]
    dtype: torch.dtype
    device: torch.device


# Milliseconds of one pass over all levels, or None where there is no room for it.
Timer: TypeAlias = Callable[[torch.memory_format, Convolving], float | None]


@torch.inference_mode()
def time_layout(layout: torch.memory_format, shape: Convolving) -> float | None:
    """Time half a residual block a level on a CUDA device: GroupNorm, SiLU, 3 x 3 convolution, two
    rows; milliseconds, or None if a layer refuses or has no room.
    """
    generator = torch.Generator(shape.device).manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        drawn = torch.randn(sizes, generator=generator, device=shape.device, dtype=shape.dtype)
        return drawn.contiguous(memory_format=layout) if len(sizes) == 4 else drawn

    def run(level: Level, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        normed = group_norm(x, level.groups, scale, scale, 1e-5, silu=True)
        return functional.conv2d(normed, weight, padding=1)

    try:
        given = [
            (
                level,
                draw(_ROWS, level.channels, level.side, level.side),
                draw(level.channels, level.channels, 3, 3),
                draw(level.channels),
            )
            for level in shape.levels
        ]
        return milliseconds(lambda: [run(*each) for each in given])
    except RuntimeError:
        return None


def fastest_layout(
    levels: tuple[Level, ...],
    device: torch.device | str,
    dtype: torch.dtype,
    *,
    timer: Timer = time_layout,
) -> torch.memory_format:
    """Return the layout in which convolutions of these levels are fastest.

    On a CUDA device the first question about some levels times both, which waits for the device;
    later ones are answered from memory. On any other device, and for no levels, the answer is
    torch.contiguous_format at once.
    """
    device = torch.device(device)
    if device.type != "cuda" or not levels:
        return torch.contiguous_format
    return _fastest(Convolving(levels, dtype, device), timer)


@cache
def _fastest(shape: Convolving, timer: Timer) -> torch.memory_format:
    planar, last = (timer(each, shape) for each in (torch.contiguous_format, torch.channels_last))
    if planar is None or last is None or last * _FASTER >= planar:
        return torch.contiguous_format
    return torch.channels_last


def arrange(
    network: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    *,
    timer: Timer = time_layout,
) -> None:
    """Lay a network's convolutions out as is fastest on `device` in `dtype`, where they are.

    For a U-Net, a ControlNet or an autoencoder with its weights in it; any other network stays as
    it is, and so does every network of a CPU. Parameters remain the same objects, and their numbers
    the same bits; one weight at a time is there twice. Raises torch.OutOfMemoryError where even
    that has no room: the network then is as good as before, with some of its weights laid out.
    """
    levels = levels_of(network)
    if device.type != "cuda" or not levels:
        return
    layout = fastest_layout(levels, device, dtype, timer=timer)
    for weight in network.parameters():
        if weight.dim() == 4:
            # Not `contiguous`: weights of 1 x 1 convolutions are so in both layouts, and only the
            # strides of dimensions of one element tell which of the two their maps shall have.
            # PyTorch cannot run a weight made in inference mode over numbers made outside.
            with torch.inference_mode(weight.is_inference()):
                weight.data = weight.data.to(memory_format=layout)


def layout_of(network: nn.Module) -> torch.memory_format:
    """Return the layout that a network wants its input in: that of its first convolution."""
    first = next((weight for weight in network.parameters() if weight.dim() == 4), None)
    if first is None or first.is_contiguous():
        return torch.contiguous_format
    last = first.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def levels_of(network: nn.Module) -> tuple[Level, ...]:
    """Return a network's levels, finest first, at the size most pictures have; none where it is of
    no known kind.
    """
    config = getattr(network, "config", None)
    if isinstance(config, ControlNetConfig):
        config = config.unet
    if isinstance(config, VAEConfig):
        width, side = config.channels, _PIXELS // config.patch_size
    elif isinstance(config, DDPMConfig):
        width, side = config.model_channels, config.resolution
    elif isinstance(config, UNetConfig):
        width, side = config.model_channels, _LATENTS_XL if config.added_dim else _LATENTS
    else:
        return ()
    return tuple(
        Level(channels=mult * width, groups=config.norm_groups, side=max(1, side >> place))
        for place, mult in enumerate(config.channel_mult)
    )
