"""How many bytes a pass needs, before there was one: the network is walked with shapes alone.

Promises: the layers that run are the layers that are asked, so an estimate follows the code; a walk
takes milliseconds, computes nothing and takes no memory. Never knows what is free: the ledger does.

What shapes cannot show is what kernels take for themselves: on CPUs, measured, one weight in
another layout and up to a third of the activations, in autoencoders; for U-Nets nothing more. On
CUDA the ledger replaces an estimate by the measured peak.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diffusion.networks.configs import DDPMConfig, UNetConfig, VAEConfig
from diffusion.networks.convolution import borders
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Decoder, Encoder

Config: TypeAlias = UNetConfig | DDPMConfig
_Two: TypeAlias = int | tuple[int, int]
# What activations are multiplied by for what shapes do not show (tests/test_diffusion_ledger.py).
MARGIN: Final = 1.4
# Buffers of threads, counted by nobody.
_SMALL: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What the bytes of a pass depend on. height, width: latent positions; context: tokens;
    controls: how many ControlNets steer it; seamless: whether borders meet.
    """

    config: Config
    height: int
    width: int
    context: int
    dtype: torch.dtype
    controls: int = 0
    seamless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes of a pass: those of each row, and what kernels may take once, a laid-out weight."""

    row: int
    fixed: int

    def of(self, rows: int) -> int:
        """Return the bytes of a pass of so many rows."""
        return int(MARGIN * self.row * rows) + self.fixed


@lru_cache(maxsize=256)
def pass_bytes(footprint: Footprint) -> Estimate:
    """Return the most bytes that a pass has alive at once, inputs included and weights not."""
    network = _hollow(footprint.config, footprint.dtype)
    with torch.inference_mode(), borders(seamless=footprint.seamless):
        found = walked(network, lambda: _pass(network, footprint))
    # A ControlNet is half a network and keeps one residual for every skip connection.
    row = found * (1 + footprint.controls)
    return Estimate(row=row, fixed=_once(network, footprint.dtype))


@lru_cache(maxsize=256)
def decode_bytes(config: VAEConfig, height: int, width: int, dtype: torch.dtype) -> int:
    """Return the most bytes alive while height x width latent positions are decoded at once."""
    with torch.device("meta"):
        decoder = Decoder(config)
    return _coder_bytes(decoder, (config.z_channels, height, width), dtype)


@lru_cache(maxsize=256)
def encode_bytes(config: VAEConfig, height: int, width: int, dtype: torch.dtype) -> int:
    """Return the most bytes alive while height x width latent positions are encoded at once."""
    unit = config.downscale
    with torch.device("meta"):
        encoder = Encoder(config, out_channels=2 * config.z_channels)
    return _coder_bytes(encoder, (3, height * unit, width * unit), dtype)


def _coder_bytes(coder: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype) -> int:
    with torch.inference_mode():
        x = torch.empty((1, *shape), device="meta", dtype=dtype)
        row = walked(coder, lambda: coder(x)) + x.nbytes
    return Estimate(row=row, fixed=_once(coder, dtype)).of(1)


def _once(network: nn.Module, dtype: torch.dtype) -> int:
    return _SMALL + max(weight.numel() for weight in network.parameters()) * dtype.itemsize


@lru_cache(maxsize=4)
def _hollow(config: Config, dtype: torch.dtype) -> UNet | DDPMUNet:
    """Return a network without weights."""
    with torch.device("meta"):
        network = UNet(config) if isinstance(config, UNetConfig) else DDPMUNet(config)
    return network.to(dtype)


def _pass(network: UNet | DDPMUNet, footprint: Footprint) -> None:
    """Run one row."""
    config = footprint.config
    empty = partial(torch.empty, device="meta", dtype=footprint.dtype)
    added = context = guidance = None
    if isinstance(config, UNetConfig):
        if config.num_classes:
            added = torch.empty(1, device="meta", dtype=torch.int64)
        elif config.added_dim:
            added = empty(config.added_dim)
        context = empty(footprint.context, config.context_dim) if config.context_dim else None
        guidance = 0.0 if config.guidance_dim else None
    x = empty(1, config.in_channels, footprint.height, footprint.width)
    times = network.time_row(1.0, added, guidance)[None]
    contexts = [part[None] for part in network.context_row(context)]
    network.run(x, times, contexts)


def walked(network: nn.Module, run: Callable[[], object]) -> int:
    """Return the most bytes of tensors alive at once while `run` walks a network on the meta
    device, its weights not counted.

    Nothing is computed: every operation only says what it would allocate, and Python's own counts
    say when that is given back, as they do in a real pass.
    """
    meter = _Meter(weight.untyped_storage()._cdata for weight in network.parameters())
    with meter:
        run()
    return meter.peak


class _Meter(TorchFunctionMode):
    """Count the storages that operations on meta tensors make and Python drops."""

    def __init__(self, ignored: Iterable[int]) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known = set(ignored)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        first = args[0] if args else None
        on = first[0] if isinstance(first, list | tuple) and first else first
        if isinstance(on, Tensor) and on.is_meta:
            func = _RULES.get(func.__name__.strip("_"), func)
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, list | tuple) else (result,):
            if isinstance(made, Tensor) and made.is_meta:
                self._count(made.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


# Shapes of what operations allocate. PyTorch's own rules for these load its compiler: seconds, for
# arithmetic. Any other operation is asked itself.


def _same(x: Tensor, *_: object, **__: object) -> Tensor:
    return torch.empty_like(x)


def _linear(x: Tensor, weight: Tensor, *_: object) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _convolution(
    x: Tensor, weight: Tensor, bias: object = None, stride: _Two = 1, padding: _Two = 0, *_: object
) -> Tensor:  # fmt: skip
    del bias
    strides = (stride, stride) if isinstance(stride, int) else stride
    pads = (padding, padding) if isinstance(padding, int) else padding
    sides = zip(x.shape[-2:], weight.shape[-2:], strides, pads, strict=True)
    return x.new_empty(
        (len(x), len(weight), *((side + 2 * pad - k) // step + 1 for side, k, step, pad in sides))
    )


def _attention(q: Tensor, k: Tensor, v: Tensor, **_: object) -> Tensor:
    del k
    return q.new_empty((*q.shape[:-1], v.shape[-1]))


def _concatenated(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    shape = list(parts[0].shape)
    shape[dim] = sum(part.shape[dim] for part in parts)
    return parts[0].new_empty(shape)


def _broadcast(x: Tensor, other: object, **_: object) -> Tensor:
    theirs = tuple(other.shape) if isinstance(other, Tensor) else ()
    ours = tuple(x.shape)
    length = max(len(ours), len(theirs))
    padded = [(1,) * (length - len(shape)) + shape for shape in (ours, theirs)]
    return x.new_empty([max(a, b) for a, b in zip(*padded, strict=True)])


def _padded(x: Tensor, pad: Sequence[int], *_: object, **__: object) -> Tensor:
    shape = list(x.shape)
    for i in range(len(pad) // 2):
        shape[-1 - i] += pad[2 * i] + pad[2 * i + 1]
    return x.new_empty(shape)


def _resized(
    x: Tensor, size: Sequence[int] | None = None, scale_factor: float = 1.0, **_: object
) -> Tensor:
    sides = size or [int(side * scale_factor) for side in x.shape[2:]]
    return x.new_empty((*x.shape[:2], *sides))


_RULES: Final[Mapping[str, Callable[..., Tensor]]] = MappingProxyType(
    dict[str, Callable[..., Tensor]](
        linear=_linear,
        conv2d=_convolution,
        scaled_dot_product_attention=_attention,
        cat=_concatenated,
        pad=_padded,
        interpolate=_resized,
    )
    | dict.fromkeys(("group_norm", "layer_norm", "silu", "gelu"), _same)
    | dict.fromkeys(("add", "radd", "mul", "rmul", "sub", "div", "truediv"), _broadcast)
)
