"""Batched low ranks: every row gets its own patches, with the bits it has in any company."""

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion.adapters import PatchSet, patched, patched_rows
from diffusion.adapters.batched import Stacks, bucket_of, stacks_of
from diffusion.adapters.patches import Bias, Full, LowRank, Norm, Patch
from diffusion.exact import Certificates, same_bits
from diffusion.networks.convolution import Conv2d, Linear, Pointwise

Style = Sequence[tuple[PatchSet, float]]


class Layers(nn.Module):
    """One layer of each kind that files change."""

    def __init__(self, wide: int = 24, out: int = 32) -> None:
        super().__init__()
        self.linear = Linear(wide, out)
        self.point = Pointwise(wide, out)
        self.window = Conv2d(wide, out, 3, padding=1)
        self.norm = nn.LayerNorm(wide)
        self.requires_grad_(False)


@pytest.fixture
def layers() -> Layers:
    torch.manual_seed(1)
    return Layers()


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def low_rank(layer: nn.Module, rank: int, seed: int, alpha: float | None = None) -> LowRank:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, *layer.weight.shape[1:], generator=generator) * 0.2
    up = torch.randn(layer.weight.shape[0], rank, generator=generator) * 0.2
    return LowRank(layer, {"down": down, "up": up}, alpha)


def style(network: nn.Module, rank: int, seed: int, *names: str) -> PatchSet:
    """A file that changes the layers of these names."""
    found: dict[nn.Module, tuple[Patch, ...]] = {}
    for name in names or ("linear",):
        layer = network.get_submodule(name)
        found[layer] = (low_rank(layer, rank, seed),)
    return PatchSet(network=network, layers=found)


def through(
    network: nn.Module,
    x: Tensor,
    styles: Sequence[Style],
    certificates: Certificates | None = None,
    name: str = "linear",
) -> Tensor:
    with patched_rows(network, styles, certificates):
        return cast(Tensor, network.get_submodule(name)(x))


def alone(network: nn.Module, row: Tensor, own: Style, certificates: Certificates) -> Tensor:
    """What a row gets that has itself for company."""
    return through(network, torch.stack([row, row]), [own, own], certificates)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("wide", "out", "tokens"), [(24, 32, 5), (96, 96, 64), (320, 41, 77)])
@torch.inference_mode()
def test_a_row_has_its_bits_in_every_company(
    threads: int, wide: int, out: int, tokens: int, dtype: torch.dtype
) -> None:
    """Alone, in two, in up to 32 rows of many ranks, and at every place."""
    torch.manual_seed(3)
    network = Layers(wide, out).to(dtype)
    sets = [style(network, rank, rank) for rank in (1, 4, 8, 13, 32, 70)]
    styles: list[Style] = [*([(s, 0.7)] for s in sets), []]
    styles += [[(sets[2], 1.0), (sets[3], -0.4)], []]
    x = torch.randn(32, tokens, wide).to(dtype)
    owns = [styles[(5 * row) % len(styles)] for row in range(32)]
    # Nothing but the products: the layer's own are certified elsewhere.
    network.linear.weight.zero_()
    known = Certificates()
    expected = [alone(network, x[row], owns[row], Certificates()) for row in range(32)]
    for rows in (1, 2, 3, 5, 8, 16, 32):
        for first in (0, 32 - rows):
            chosen = range(first, first + rows)
            found = through(network, x[list(chosen)], [owns[row] for row in chosen], known)
            for place, row in enumerate(chosen):
                assert same_bits(found[place], expected[row]), (threads, rows, first, row)


def strange(limit: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A product that rounds otherwise for more than `limit` matrices."""
    real = torch.bmm

    def bmm(a: Tensor, b: Tensor) -> Tensor:
        found = real(a, b)
        return found * (1 + 1e-6) if len(a) > limit else found

    return bmm


@torch.inference_mode()
def test_a_number_of_rows_that_rounds_otherwise_is_refused_and_never_seen(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, x = [(style(layers, 8, 1), 1.0)], torch.randn(9, 7, 24)
    expected = [alone(layers, row, own, Certificates()) for row in x]
    monkeypatch.setattr(torch, "bmm", strange(5))
    known = Certificates()
    for _ in range(2):
        found = through(layers, x, [own] * 9, known)
        assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))
    assert list(known.refused.values()) == [{9}]
    through(layers, x[:4], [own] * 4, known)
    assert list(known.agreeing.values()) == [{4}]
    careless = through(layers, x, [own] * 9)
    assert not any(same_bits(a, b) for a, b in zip(careless, expected, strict=True))


@torch.inference_mode()
def test_a_lonely_row_has_the_bits_of_two(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    own, x = [(style(layers, 8, 1), 1.0)], torch.randn(3, 7, 24)
    monkeypatch.setattr(torch, "bmm", strange(1))
    expected = alone(layers, x[0], own, Certificates())
    assert same_bits(through(layers, x, [own, [], []], Certificates())[0], expected)
    assert not same_bits(through(layers, x, [own, [], []])[0], expected)


class Nothing(Linear):
    """A layer whose every output is -0."""

    def forward(self, input: Tensor) -> Tensor:
        return input.new_full((*input.shape[:-1], self.out_features), -0.0)


@torch.inference_mode()
def test_rows_without_a_style_are_not_touched(layers: Layers) -> None:
    """Not even by adding zero, which would make 0 of -0."""
    layers.linear = Nothing(24, 32)
    x = torch.randn(6, 7, 24)
    plain = layers.linear(x)
    assert torch.signbit(plain).all()
    sets = [style(layers, rank, rank) for rank in (4, 40)]
    none: Style = [(sets[0], 0.0)]
    found = through(layers, x, [[(sets[0], 1.0)], [], [(sets[0], 1.0)], none, [(sets[1], 1.0)], []])
    for row in range(6):
        assert same_bits(found[row], plain[row]) == (row in (1, 3, 5)), row


def maps(count: int, wide: int = 24, *, last: bool = False) -> Tensor:
    x = torch.randn(count, wide, 5, 6)
    return x.to(memory_format=torch.channels_last) if last else x


@pytest.mark.parametrize("name", ["linear", "point", "window", "norm"])
@pytest.mark.parametrize("last", [False, True])
@torch.inference_mode()
def test_every_row_gets_what_its_patches_add(layers: Layers, name: str, last: bool) -> None:
    """Kinds that share products beside kinds that do not, against one row at a time."""
    layer = layers.get_submodule(name)
    changes: list[Patch] = (
        [Norm(layer, torch.randn(24), torch.randn(24))]
        if isinstance(layer, nn.LayerNorm)
        else [low_rank(layer, 3, 1, 6.0), low_rank(layer, 20, 2), *others(layer)]
    )
    sets = [PatchSet(network=layers, layers={layer: (change,)}) for change in changes]
    sets.append(PatchSet(network=layers, layers={layer: tuple(changes)}))
    styles: list[Style] = [
        [(sets[0], 1.0)],
        [],
        [(each, 0.5) for each in sets],
        [(sets[-1], -1.0)],
        *([(each, 2.0)] for each in sets),
    ]
    x = maps(len(styles), last=last)
    x = x if name in ("point", "window") else x.flatten(2).transpose(1, 2)
    found = through(layers, x, styles, name=name)
    for row, own in enumerate(styles):
        with patched(layers, own):
            expected = layer(x[row : row + 1])[0]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], layer(x)[0])


def others(layer: nn.Module) -> list[Patch]:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    diff = torch.randn(layer.weight.shape) * 0.1
    return [Full(layer, "diff", {"diff": diff}, None), Bias(layer, torch.randn(32))]


@torch.inference_mode()
def test_what_rows_look_like_depends_on_no_company(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side or not, and however the layer before laid them out: one layout, one kernel."""
    own, seen = [(style(layers, 8, 1, "linear", "point"), 1.0)], set()
    real = torch.bmm

    def bmm(a: Tensor, b: Tensor) -> Tensor:
        seen.add((a.shape[1:], a.stride(), b.stride()))
        return real(a, b)

    monkeypatch.setattr(torch, "bmm", bmm)
    for x in (maps(4), maps(4, last=True)):
        for styles in ([own, own, [], []], [own, [], own, []], [[], [], own, own]):
            through(layers, x, styles, name="point")
            through(layers, x.flatten(2).transpose(1, 2), styles)
    assert len(seen) == 2


@torch.inference_mode()
def test_linear_layers_take_any_number_of_dimensions(layers: Layers) -> None:
    own = [(style(layers, 8, 1), 1.0)]
    for x in (torch.randn(3, 24), torch.randn(3, 32, 5, 24)):
        with patched(layers, own):
            expected = layers.linear(x)
        torch.testing.assert_close(through(layers, x, [own] * 3), expected, rtol=1e-4, atol=1e-5)


class Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count what is asked of the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: dict[str, int] = {}

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        name = func.overloadpacket.__name__
        self.count[name] = self.count.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


def count(act: Callable[[], object]) -> dict[str, int]:
    calls = Calls()
    with calls:
        act()
    return calls.count


def test_products_are_two_a_bucket_however_many_rows(layers: Layers) -> None:
    sets = [style(layers, rank, rank) for rank in (5, 6, 7, 8, 9)]
    x = torch.randn(16, 7, 24)
    styles: list[Style] = [[(sets[row % 4], 1.0)] for row in range(16)]
    assert count(lambda: through(layers, x, styles))["bmm"] == 2
    styles[3] = [(sets[4], 1.0)]
    assert count(lambda: through(layers, x, styles))["bmm"] == 4
    assert [bucket_of(rank) for rank in (1, 8, 9, 64, 128, 129, 200)] == [
        *(8, 8, 16, 64, 128, 192, 256)
    ]


def test_factors_are_stacked_once_for_a_company(layers: Layers) -> None:
    a, b = style(layers, 4, 1, "linear", "point"), style(layers, 4, 2)
    x = torch.randn(4, 7, 24)
    styles: list[Style] = [[(a, 1.0)], [(b, 1.0)]] * 2
    assert count(lambda: through(layers, x, styles)).get("stack") == 2
    again = count(lambda: through(layers, x, styles))
    assert not {"stack", "mul_", "_to_copy"} & again.keys()
    # Others' factors, others' weights, another order: each is another company.
    for other in ([(a, 0.5)], [(b, 1.0)]):
        changed = [other, *styles[1:]]
        found = through(layers, x, changed)
        with patched(layers, other):
            torch.testing.assert_close(found[0], layers.linear(x)[0], rtol=1e-4, atol=1e-5)
    # Of layers that the pass does not ask, nothing is stacked.
    floats = 2 * (8 * 24 + 8 * 32) * 4
    assert stacks_of(layers).bytes == 3 * 2 * floats


def test_an_address_that_is_used_again_is_not_mistaken(layers: Layers) -> None:
    x = torch.randn(2, 7, 24)
    for seed in range(60):
        own = [(style(layers, 4, seed), 1.0)]
        found = through(layers, x, [own, own])
        with patched(layers, own):
            torch.testing.assert_close(found, layers.linear(x), rtol=1e-4, atol=1e-5)
        del own


def test_memory_is_bounded_and_given_back(layers: Layers) -> None:
    x = torch.randn(2, 7, 24)
    size = 2 * (8 * 24 + 8 * 32) * 4
    stacks = Stacks(2 * size)
    layers._easel_stacks = stacks  # type: ignore[assignment]
    expected: dict[int, Tensor] = {}
    for seed in (0, 1, 2, 0, 1):
        own = [(style(layers, 4, seed), 1.0)]
        found = through(layers, x, [own, own])
        assert stacks.bytes <= 2 * size
        assert torch.equal(expected.setdefault(seed, found), found)
    assert stacks.bytes == 2 * size
    # What is larger than all that may be kept is stacked at every pass, and let go.
    large = [(style(layers, 64, 1), 1.0)]
    for _ in range(2):
        assert count(lambda: through(layers, x, [large, large]))["stack"] == 2
        assert stacks.bytes == 2 * size
    # Nor are files kept for companies long gone.
    once = [(style(layers, 64, 2), 1.0)]
    through(layers, x, [once, once])
    forgotten = weakref.ref(once[0][0].layers[layers.linear][0])
    del once
    for weight in range(1, 21):
        through(layers, x, [[(large[0][0], weight / 8)], []])
    assert forgotten() is None
    stacks.clear()
    assert stacks.bytes == 0
    assert stacks_of(layers) is stacks
    assert stacks_of(copy.deepcopy(layers)) is not stacks


def test_a_network_is_not_kept_alive_by_its_stacks(layers: Layers) -> None:
    network = Layers()
    x = torch.randn(2, 7, 24)
    own: Style = [(style(network, 4, 1), 1.0)]
    through(network, x, [own, own])
    gone, too = weakref.ref(network), weakref.ref(stacks_of(network))
    del network, own
    assert gone() is None and too() is None


class Squashed(Linear):
    """A layer whose gradient is computed from its output."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).sigmoid()


def test_gradients_are_those_of_one_row_at_a_time(layers: Layers) -> None:
    layers.linear = Squashed(24, 32).requires_grad_(False)
    sets = [style(layers, rank, rank) for rank in (4, 12)]
    styles: list[Style] = [[(sets[0], 1.0)], [], [(sets[0], 0.5), (sets[1], 1.0)], [(sets[0], 2.0)]]
    x = torch.randn(4, 7, 24)
    with torch.inference_mode():
        # Factors that were stacked here are good for those who want gradients too.
        through(layers, x, styles)
    for known in (None, Certificates()):
        x = x.detach().requires_grad_()
        found = through(layers, x, styles, known)
        (gradient,) = torch.autograd.grad(found.square().sum(), x)
        for row, own in enumerate(styles):
            one = x[row : row + 1].detach().requires_grad_()
            with patched(layers, own):
                (expected,) = torch.autograd.grad(layers.linear(one).square().sum(), one)
            torch.testing.assert_close(gradient[row], expected[0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_nothing_is_read_by_the_host() -> None:
    """The meta device has no numbers: whoever waits for one fails."""
    with torch.device("meta"):
        network = Layers()
        sets = [
            PatchSet(
                network=network,
                layers={
                    layer: (LowRank(layer, {"down": torch.empty(rank, 24), "up": up}, 1.0),)
                    for layer in (network.linear, network.point)
                    for up in (torch.empty(32, rank),)
                },
            )
            for rank in (4, 20)
        ]
        x = torch.empty(5, 24, 2, 3)
    one, both = [(sets[0], 2.0)], [(sets[1], 0.5), (sets[0], 1.0)]
    styles = [one, [], both, one, []]
    for known in (None, Certificates()):
        assert through(network, x.flatten(2).transpose(1, 2), styles, known).is_meta
        assert through(network, x, styles, known, "point").is_meta


def test_an_inner_block_replaces_the_outer(layers: Layers) -> None:
    own, x = [(style(layers, 4, 1), 1.0)], torch.randn(2, 7, 24)
    plain = layers.linear(x)
    with patched_rows(layers, [own, own]):
        assert same_bits(through(layers, x, [[], []]), plain)
        assert not same_bits(layers.linear(x), plain)
    assert same_bits(layers.linear(x), plain)
