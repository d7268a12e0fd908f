"""Changes of layers that are there only while somebody asks for them.

Promises: a patch adds to the output of its layer inside `with patched(...)` of the same thread or
task, and nowhere else; no parameter is ever written, so leaving the block gives back the very bits
of before. Never knows files or names.

Rows of one pass may have patches of their own: see `batched` for how those of low rank share their
products.

Why hooks: merging a LoRA into the weights costs a copy of them, cannot be undone exactly in half
precision, and would change the picture of everybody whose job runs on the same model.
"""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffusion.adapters.batched import Company, bucket_of, stacks_of
from diffusion.adapters.formulas import Parts, decomposed, delta, scale
from diffusion.exact import Certificates
from diffusion.networks.convolution import Conv2d


class Patch(Protocol):
    """One change of one layer, already in the layer's precision and on its device.

    factors: down, b x in, and up, out x b, where the change is up (down x) at every position and no
    more; b is a rank that many patches share, and the factors are zero beyond their own.
    """

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Return what can be multiplied beside other rows' factors; None for other kinds."""

    def added(self, x: Tensor) -> Tensor:
        """Return what comes on top of the layer's output for its input x, at strength 1."""


class LowRank:
    """up(down(x)) times a scale, never built as a full weight. `mid`: see `formulas.low_rank`."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, parts: Parts, alpha: float | None) -> None:
        down, up = parts["down"], parts["up"].flatten(1)
        rank = len(down)
        up = _scaled(up, scale(alpha, rank))
        self.factors: tuple[Tensor, Tensor] | None = None
        if "mid" not in parts and _is_by_position(layer):
            spare = bucket_of(rank) - rank
            down = functional.pad(down.flatten(1), (0, 0, 0, spare)).to(layer.weight)
            up = functional.pad(up, (0, spare)).to(layer.weight)
            self.factors = down.detach(), up.detach()
        if isinstance(layer, nn.Linear):
            stages: list[nn.Module] = [_linear(down.flatten(1)), _linear(up)]
        elif "mid" in parts:
            stages = [_point(down.flatten(1)), _like(layer, parts["mid"]), _point(up)]
        else:
            stages = [_like(layer, down.reshape(-1, *layer.weight.shape[1:])), _point(up)]
        self._stages = nn.Sequential(*stages).to(layer.weight)

    def added(self, x: Tensor) -> Tensor:
        """Return scale up(down(x)), in the shape of the layer's output."""
        return cast(Tensor, self._stages(x))


class Full:
    """A change of the whole weight, computed from its factors when it is first needed."""

    factors: Final = None

    def __init__(
        self, layer: nn.Linear | nn.Conv2d, kind: str, parts: Parts, alpha: float | None
    ) -> None:
        self._layer = layer
        self._kind = kind
        self._parts = parts
        self._alpha = alpha
        self._stage: nn.Module | None = None

    def added(self, x: Tensor) -> Tensor:
        """Return x through the layer's own operation, with the change for a weight."""
        stage = self._stage
        if stage is None:
            layer, change = self._layer, self.change()
            stage = _linear(change) if isinstance(layer, nn.Linear) else _like(layer, change)
            self._stage = stage = stage.to(layer.weight)
        return cast(Tensor, stage(x))

    @torch.no_grad()
    def change(self) -> Tensor:
        """Return the change of the weight, in float32 or wider, on the layer's device."""
        weight = self._layer.weight
        wide = torch.promote_types(weight.dtype, torch.float32)
        parts = {name: part.to(weight.device, wide) for name, part in self._parts.items()}
        change = delta(self._kind, parts, self._alpha).reshape(weight.shape)
        for name in ("magnitude", "dora_scale"):
            if name in parts:
                # The layouts of peft always mean rows; LyCORIS tells the axis by the shape.
                rows = name == "magnitude" or parts[name].shape[:1] == weight.shape[:1]
                axis = "out" if rows else "in"
                change = decomposed(weight.to(wide), change, parts[name], axis)
        return change


class Bias:
    """A change of a bias."""

    factors: Final = None

    def __init__(self, layer: nn.Linear | nn.Conv2d, bias: Tensor) -> None:
        shape = (-1,) if isinstance(layer, nn.Linear) else (-1, 1, 1)
        self._bias = bias.to(layer.weight).reshape(shape)

    def added(self, x: Tensor) -> Tensor:
        """Return the bias alone: it broadcasts over the layer's output."""
        return self._bias


class Norm:
    """A change of the scale and the shift of a norm."""

    factors: Final = None

    def __init__(
        self, layer: nn.GroupNorm | nn.LayerNorm, weight: Tensor | None, bias: Tensor | None
    ) -> None:
        self._layer = layer
        self._weight = torch.zeros_like(layer.weight) if weight is None else weight.to(layer.weight)
        self._bias = None if bias is None else bias.to(layer.weight)

    def added(self, x: Tensor) -> Tensor:
        """Return the normalised x, scaled and shifted by the changes."""
        layer = self._layer
        if isinstance(layer, nn.GroupNorm):
            return functional.group_norm(x, layer.num_groups, self._weight, self._bias, layer.eps)
        shape = list(layer.normalized_shape)
        return functional.layer_norm(x, shape, self._weight, self._bias, layer.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSet:
    """What one file changes in one network: the patches of every layer that it touches."""

    network: nn.Module
    layers: Mapping[nn.Module, tuple[Patch, ...]]

    def __len__(self) -> int:
        """Return the number of layers touched."""
        return len(self.layers)


Active = Mapping[nn.Module, tuple[tuple[Patch, float], ...]]
_ACTIVE: ContextVar[Active] = ContextVar("patches", default=MappingProxyType({}))
_ROWS: ContextVar[tuple[Company, Certificates | None] | None] = ContextVar("rows", default=None)
_INSTALLING = threading.Lock()


@contextmanager
def patched(network: nn.Module, patches: Sequence[tuple[PatchSet, float]]) -> Iterator[None]:
    """Apply patch sets, each times its weight, to a network for the length of the block.

    Only this thread (or task) sees them; blocks may be nested, and then add up. A weight of 0 is
    exactly no patch. Raises ValueError for patches of another network and weights that are not
    finite.
    """
    active = dict(_ACTIVE.get())
    for patch_set, weight in patches:
        _check(patch_set, network, weight)
        if weight == 0:
            continue
        install(patch_set)
        for layer, changes in patch_set.layers.items():
            weighted = tuple((change, weight) for change in changes)
            active[layer] = active.get(layer, ()) + weighted
    token = _ACTIVE.set(active)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def patched_rows(
    network: nn.Module,
    rows: Sequence[Sequence[tuple[PatchSet, float]]],
    certificates: Certificates | None = None,
) -> Iterator[None]:
    """Apply to every row of a forward pass its own patch sets, each times its weight.

    The network must be given exactly these rows; those without a patch are left alone. With
    `certificates` a row gets the same bits whatever the others are; without, they may differ in the
    last place. Raises ValueError as `patched` does.
    """
    for patches in rows:
        for patch_set, weight in patches:
            _check(patch_set, network, weight)
    company = None
    if any(weight for patches in rows for _, weight in patches):
        # By the address of what a patch set changes: a company keeps that, and not the network.
        key = tuple(tuple((id(p.layers), weight) for p, weight in patches) for patches in rows)
        held = [p.layers for patches in rows for p, _ in patches]
        company = stacks_of(network).company(key, held, lambda: _by_layer(rows))
    token = _ROWS.set(None if company is None else (company, certificates))
    try:
        yield
    finally:
        _ROWS.reset(token)


def _by_layer(
    rows: Sequence[Sequence[tuple[PatchSet, float]]],
) -> dict[nn.Module, list[tuple[int, Patch, float]]]:
    """Return what every layer is changed by, and make the layers ask for it."""
    found: dict[nn.Module, list[tuple[int, Patch, float]]] = {}
    for number, patches in enumerate(rows):
        for patch_set, weight in patches:
            install(patch_set)
            for layer, changes in patch_set.layers.items() if weight else ():
                found.setdefault(layer, []).extend((number, each, weight) for each in changes)
    return found


def _check(patch_set: PatchSet, network: nn.Module, weight: float) -> None:
    if patch_set.network is not network:
        raise ValueError("these patches were matched to another network: match them again")
    if not math.isfinite(weight):
        raise ValueError(f"a LoRA's weight is {weight}; it must be a finite number")


def install(patch_set: PatchSet) -> None:
    """Make the touched layers ask for active patches, once for each layer's life.

    In the thread that runs the network: a layer's hooks must not grow while they are called.
    """
    with _INSTALLING:
        for layer in patch_set.layers:
            if _add_patches not in layer._forward_hooks.values():
                layer.register_forward_hook(_add_patches)


def _add_patches(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    for patch, weight in _ACTIVE.get().get(layer, ()):
        output = output + patch.added(inputs[0]) * weight
    rows = _ROWS.get()
    if rows is not None:
        company, certificates = rows
        output = company.add(layer, inputs[0], output, certificates)
    return output


def _is_by_position(layer: nn.Linear | nn.Conv2d) -> bool:
    """Whether a layer multiplies every position by its weight, and does no more."""
    if isinstance(layer, nn.Linear):
        return True
    is_point = layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1
    return is_point and layer.padding == (0, 0)


def _scaled(up: Tensor, factor: float) -> Tensor:
    # In half precision small factors would lose digits before they are rounded.
    wide = torch.promote_types(up.dtype, torch.float32)
    return up if factor == 1 else up.to(wide) * factor


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def _point(weight: Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False, device="meta")
    layer.weight = nn.Parameter(weight[:, :, None, None], requires_grad=False)
    return layer


def _like(layer: nn.Conv2d, weight: Tensor) -> nn.Conv2d:
    """Build a convolution that steps and pads as `layer` does, seamless borders included."""
    kind = Conv2d if isinstance(layer, Conv2d) else nn.Conv2d
    twin = kind(
        weight.shape[1],
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=cast(tuple[int, int], layer.stride),
        padding=cast(tuple[int, int], layer.padding),
        bias=False,
        device="meta",
    )
    twin.weight = nn.Parameter(weight, requires_grad=False)
    return twin
