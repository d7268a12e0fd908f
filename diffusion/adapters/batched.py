"""Low-rank patches of many rows at once: two batched products a layer instead of two a row.

Promises: a row's products have shapes that depend on the row alone, since ranks are padded with
zeros to a few buckets and rows of different buckets never meet in a product; rows without a patch
are not touched, not even by adding zero. With certificates, a row's bits are those that it has in a
product of two rows, however many share it (see `diffusion.exact`). Never waits for the device, but
for the trial of a number of rows. Never knows files, names or who installs hooks.

## Why products have certificates of their own
Kernels are chosen by shapes, and the shape of a product is that of the layer, a bucket and a
number of rows. A certificate of the whole pass would be one for every mix of styles that rows can
bring, of which there are thousands, and a trial of each takes two passes. Products are tried one by
one instead, each shape once in a model's life; what the rest of a pass needs is certified without
looking at styles.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import torch
from torch import Tensor, nn

from diffusion.exact import Certificates, run_exactly
from diffusion.transfer import upload

if TYPE_CHECKING:
    from diffusion.adapters.patches import Patch

# Of one network: stacked factors that are kept. What goes beyond is stacked anew at every pass.
MAX_BYTES: Final = 256 << 20
# Companies of rows whose factors are kept: it changes when a job joins or leaves.
_COMPANIES: Final = 16
_BUCKETS: Final = (8, 16, 32, 64, 128)
_STEP: Final = 64
_ATTRIBUTE: Final = "_easel_stacks"

# For every layer touched: (row, its patch, the patch's weight), a row's patches in their order.
ByRow: TypeAlias = Mapping[nn.Module, Sequence[tuple[int, "Patch", float]]]
# Rows that stand side by side, or their numbers on the device.
Places: TypeAlias = slice | Tensor


def bucket_of(rank: int) -> int:
    """Return the rank, at least `rank`, that factors of a rank are padded to."""
    return next((size for size in _BUCKETS if rank <= size), -(-rank // _STEP) * _STEP)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """What n rows of one bucket b add to a layer: n matrices of factors.

    down: n x b x in. up: n x out x b, times the rows' weights. places: which rows of a pass. maps:
    whether the layer is a 1 x 1 convolution.
    """

    places: Places
    maps: bool
    down: Tensor
    up: Tensor

    @property
    def nbytes(self) -> int:
        """The memory of the factors."""
        return self.down.nbytes + self.up.nbytes

    def add(self, x: Tensor, output: Tensor, certificates: Certificates | None) -> None:
        """Add up (down x) to the product's rows of `output` in place.

        x: N x ... x in and output: N x ... x out, or as maps, N x in x h x w and N x out x h x w.
        """
        rows = _taken(x, self.places)
        rows = rows.flatten(2).transpose(1, 2) if self.maps else rows
        # One layout: how rows were laid out by the layer before must not choose a kernel.
        rows = rows.contiguous().view(len(rows), -1, rows.shape[-1])
        added = self._products(rows, certificates)
        added = added.transpose(1, 2) if self.maps else added
        added = added.reshape(len(self.down), *output.shape[1:])
        if isinstance(self.places, slice):
            output[self.places] += added
        else:
            # No `index_add_`: where it is atomic it takes numbers near zero for zero.
            added = output.index_select(0, self.places) + added
            output.index_copy_(0, self.places, added)

    def _products(self, x: Tensor, certificates: Certificates | None) -> Tensor:
        """Map n x T x in to n x T x out."""
        factors = (x, self.down, self.up)
        if certificates is None:
            return _chained(*factors)

        def some(numbers: list[int]) -> Tensor:
            return _chained(*(_some(factor, numbers) for factor in factors))

        shapes = tuple(tuple(factor.shape[1:]) for factor in factors)
        kind = ("low rank", shapes, x.dtype, torch.get_num_threads())
        return run_exactly(some, len(x), kind, certificates)[0]


class Company:
    """The rows of a pass: what each of them adds to each layer.

    `stacks` says whether so many more bytes may be kept; what may not is stacked when it is needed.
    """

    def __init__(self, changes: ByRow, stacks: "Stacks") -> None:
        self.bytes = 0
        # Weak: who drops a network has its memory back at once.
        self._stacks = weakref.ref(stacks)
        self._groups: dict[nn.Module, list[_Group]] = {}
        self._loops: dict[nn.Module, list[tuple[int, Patch, float]]] = {}
        for layer, own in changes.items():
            groups, self._loops[layer] = _grouped(own)
            self._groups[layer] = groups
        self._products: dict[nn.Module, list[Product]] = {}
        self._places: dict[tuple[int, ...], Places] = {}

    def add(
        self, layer: nn.Module, x: Tensor, output: Tensor, certificates: Certificates | None
    ) -> Tensor:
        """Return a layer's output for its input x, with what its rows add; rows come first in both.

        Low ranks come before patches of other kinds. `output` is written to, unless somebody wants
        its gradient. With certificates the bits of a row are those that it has in any company.
        """
        groups, loops = self._groups.get(layer), self._loops.get(layer)
        if not groups and not loops:
            return output
        # The output is nobody else's yet.
        output = output.clone() if output.requires_grad else output
        for product in self._stacked(layer, groups or []):
            product.add(x, output, certificates)
        for number, patch, weight in loops or []:
            own = slice(number, number + 1)
            output[own] += patch.added(x[own]) * weight
        return output

    def _stacked(self, layer: nn.Module, groups: Sequence["_Group"]) -> list[Product]:
        found = self._products.get(layer)
        if found is None:
            found = [self._product(group, maps=isinstance(layer, nn.Conv2d)) for group in groups]
            size = sum(product.nbytes for product in found)
            stacks = self._stacks()
            if stacks is not None and stacks.keep(self, size):
                self._products[layer] = found
                self.bytes += size
        return found

    # Tensors of the inference mode would be of no use to somebody who wants a gradient later.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _product(self, group: "_Group", *, maps: bool) -> Product:
        down = torch.stack([down for down, _ in group.factors])
        up = torch.stack([up for _, up in group.factors])
        (weights,) = upload(up.device, torch.tensor(group.weights, dtype=torch.float32))
        return Product(
            places=self._places_of(tuple(group.rows), up.device),
            maps=maps,
            down=down,
            up=up.mul_(weights[:, None, None]),
        )

    def _places_of(self, rows: tuple[int, ...], device: torch.device) -> Places:
        if rows not in self._places:
            first, beyond = rows[0], rows[-1] + 1
            side_by_side = beyond - first == len(rows)
            self._places[rows] = (
                slice(first, beyond) if side_by_side else upload(device, torch.tensor(rows))[0]
            )
        return self._places[rows]


class Stacks:
    """The companies of one network that were seen last, and their factors. Safe from several
    threads.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._companies: OrderedDict[Hashable, tuple[object, Company]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """A copy of a network starts without them: patches of this one do not fit it."""
        return Stacks, (self.max_bytes,)

    @property
    def bytes(self) -> int:
        """The memory of all factors that are kept."""
        with self._lock:
            return self._held()

    def company(self, key: Hashable, held: object, changes: Callable[[], ByRow]) -> Company:
        """Return the company of a key, made from `changes` when it is not known.

        `held` is kept with it: whatever the key names by its address, so that none is used twice.
        """
        with self._lock:
            found = self._companies.get(key)
            if found is not None:
                self._companies.move_to_end(key)
                return found[1]
        made = Company(changes(), self)
        with self._lock:
            self._companies[key] = held, made
            while len(self._companies) > _COMPANIES:
                self._companies.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything: the network leaves the device, and others want its memory."""
        with self._lock:
            self._companies.clear()

    def keep(self, company: Company, size: int) -> bool:
        """Make room for so many more bytes of a company, at the cost of those seen before it;
        return whether there is.
        """
        with self._lock:
            is_known = any(company is other for _, other in self._companies.values())
            if not is_known or company.bytes + size > self.max_bytes:
                return False
            for key, (_, other) in list(self._companies.items()):
                if self._held() + size > self.max_bytes and other is not company:
                    del self._companies[key]
            return True

    def _held(self) -> int:
        return sum(company.bytes for _, company in self._companies.values())


def stacks_of(network: nn.Module) -> Stacks:
    """Return the stacks of a network; they live as long as it does."""
    found = getattr(network, _ATTRIBUTE, None)
    if not isinstance(found, Stacks):
        found = Stacks()
        setattr(network, _ATTRIBUTE, found)
    return found


@dataclass(slots=True)
class _Group:
    """Rows that share a product: their numbers, factors (down: b x in, up: out x b), weights."""

    rows: list[int] = field(default_factory=list)
    factors: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def _grouped(
    own: Sequence[tuple[int, "Patch", float]],
) -> tuple[list[_Group], list[tuple[int, "Patch", float]]]:
    """Return the products of a layer, and what has to be added row by row.

    A row's first low-rank patch is in the first round of products, its second in the second: so
    they add up in their order.
    """
    groups: dict[tuple[int, int], _Group] = {}
    loops: list[tuple[int, Patch, float]] = []
    rounds: dict[int, int] = {}
    for number, patch, weight in own:
        factors = patch.factors
        if factors is None:
            loops.append((number, patch, weight))
            continue
        turn = rounds[number] = rounds.get(number, -1) + 1
        group = groups.setdefault((turn, len(factors[0])), _Group())
        group.rows.append(number)
        group.factors.append(factors)
        group.weights.append(weight)
    return [groups[key] for key in sorted(groups)], loops


def _chained(x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    return torch.bmm(torch.bmm(x, down.transpose(1, 2)), up.transpose(1, 2))


def _taken(x: Tensor, places: Places) -> Tensor:
    return x[places] if isinstance(places, slice) else x.index_select(0, places)


def _some(factor: Tensor, numbers: Sequence[int]) -> Tensor:
    first, last = numbers[0], numbers[-1]
    if last - first + 1 == len(numbers):
        return factor[first : last + 1]
    return torch.stack([factor[number] for number in numbers])
