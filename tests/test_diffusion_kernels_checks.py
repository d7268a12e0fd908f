"""What a kernel must do, as checks that take the kernels: here they are put to the twins.

The kernels themselves run in `tests/test_diffusion_kernels_interpreted.py`, in another process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from diffusion.kernels import twins

PRECISIONS: Final = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}


@dataclass(frozen=True, slots=True)
class Kernels:
    """The modules under test: the kernels, copies with a fault, or the twins themselves."""

    norms: Any
    maps: Any
    tick: Any


def close(found: Tensor, wanted: Tensor, limit: float) -> None:
    assert found.shape == wanted.shape
    worst = (found.double() - wanted.double()).abs().max() / wanted.double().abs().max()
    assert worst <= limit, f"{worst:.2e} away, {limit:.0e} allowed"


def same(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype)


def layouts(x: Tensor) -> Iterator[Tensor]:
    yield x
    yield x.contiguous(memory_format=torch.channels_last)
    # Neither layout, and a first element that is not aligned.
    yield x.transpose(2, 3)[:, :, 1:]


def check_group_norm(kernels: Kernels) -> None:
    """Widths of groups that are no powers of two, odd maps, one row, two tiles and a rest."""
    shapes = (  # N, C, groups, h, w
        (2, 20, 2, 8, 8),
        (1, 60, 2, 7, 9),
        (1, 80, 1, 5, 9),
        (1, 9, 1, 2, 1),
        (1, 2, 2, 65, 67),
    )
    for dtype, limit in PRECISIONS.items():
        for n, channels, groups, h, w in shapes:
            weight, bias, rows = (
                numbers(*shape, dtype=dtype, seed=seed)
                for seed, shape in enumerate(((channels,), (channels,), (n, channels)))
            )
            for silu, x in enumerate(layouts(numbers(n, channels, h, w, dtype=dtype) * 2 + 5)):
                if x.numel():
                    given = (x, weight, bias, rows)
                    found = grouped(kernels.norms, groups, *given, silu=bool(silu))
                    assert found.dtype == dtype
                    if x.is_contiguous(memory_format=torch.channels_last):
                        assert found.stride() == x.stride()
                    exact = (t.double() for t in given)
                    close(found, grouped(twins, groups, *exact, silu=bool(silu)), limit)


def grouped(
    kernels: Any,  # noqa: ANN401 - the kernels or their twins
    groups: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: Tensor,
    *,
    silu: bool,
) -> Tensor:
    """Normalise, with rows where there is an activation, as in a ResBlock's second half."""
    added = rows if silu else None
    normed: Tensor = kernels.group_norm(x, groups, weight, bias, 1e-5, silu=silu, rows=added)
    return normed


def check_group_norm_alone(kernels: Kernels) -> None:
    weight, bias, rows = numbers(30, seed=1), numbers(30, seed=2), numbers(4, 30, seed=3)
    for x in layouts(numbers(4, 30, 7, 6)):
        x[2] = torch.nan
        run = kernels.norms.group_norm
        together = run(x, 3, weight, bias, 1e-5, silu=True, rows=rows)
        for i in (0, 1, 3):
            alone = run(x[i : i + 1], 3, weight, bias, 1e-5, silu=True, rows=rows[i : i + 1])
            same(together[i : i + 1], alone)
        moved = run(x.flip(0), 3, weight, bias, 1e-5, silu=True, rows=rows.flip(0))
        same(moved.flip(0), together)


def check_group_norm_far_from_zero(kernels: Kernels) -> None:
    x, one = numbers(1, 10, 40, 40) + 1000, torch.ones(10)
    found = kernels.norms.group_norm(x, 1, one, 0 * one, 1e-5, silu=False)
    wanted = twins.group_norm(x.double(), 1, one.double(), 0 * one.double(), 1e-5, silu=False)
    close(found, wanted, 1e-4)


def check_layer_norm(kernels: Kernels) -> None:
    for dtype, limit in PRECISIONS.items():
        for width in (5, 320, 1280, 2048):
            x = numbers(2, 3, width, dtype=dtype) * 3 + 4
            weight, bias = numbers(width, dtype=dtype, seed=1), numbers(width, seed=2).to(dtype)
            found = kernels.norms.layer_norm(x, weight, bias, 1e-5)
            exact = (x.double(), weight.double(), bias.double())
            close(found, twins.layer_norm(*exact, 1e-5), limit)
            same(kernels.norms.layer_norm(x[1:], weight, bias, 1e-5), found[1:])


def check_geglu(kernels: Kernels) -> None:
    for dtype, limit in PRECISIONS.items():
        for width in (3, 1280, 1500):
            x = numbers(2, 3, 2 * width, dtype=dtype) * 6
            found = kernels.maps.geglu(x)
            close(found, twins.geglu(x.double()), limit)
            same(kernels.maps.geglu(x[1:]), found[1:])


def check_sums(kernels: Kernels) -> None:
    for dtype, limit in PRECISIONS.items():
        rows, bias = numbers(3, 5, dtype=dtype, seed=1), numbers(5, dtype=dtype, seed=2)
        for x in layouts(numbers(3, 5, 19, 17, dtype=dtype)):
            y = numbers(*x.shape, dtype=dtype, seed=3)
            close(kernels.maps.add_rows(x, rows), twins.add_rows(x, rows), limit)
            for added in (None, bias):
                close(kernels.maps.residual(x, y, added), twins.residual(x, y, added), limit)
        tokens, other = numbers(2, 300, 5, dtype=dtype), numbers(2, 300, 5, dtype=dtype, seed=4)
        for added in (None, bias):
            found = kernels.maps.residual(tokens, other, added)
            close(found, twins.residual(tokens, other, added), limit)
            if dtype == torch.float32:
                same(found, twins.residual(tokens, other, added))


def tick(n: int = 3, kept: int = 4) -> dict[str, Tensor]:
    """A tick of pictures with one, two and three rows, of which the first is shared."""
    return {
        "output": numbers(6, 4, 19, 17, seed=1),
        "table": torch.tensor([[0, 0, 0], [0, 1, 0], [2, 3, 4]], dtype=torch.int32)[:n],
        "weights": torch.tensor([[1.0, 0, 0], [-6.5, 7.5, 0], [-2.0, 1.5, 1.5]])[:n],
        "scalings": numbers(n, 2, seed=2),
        "registers": numbers(n, kept, 4, 19, 17, seed=3),
        "coefficients": numbers(n, 1 + kept, seed=4),
    }


def check_tick(kernels: Kernels) -> None:
    for dtype in PRECISIONS:
        for layout in (torch.contiguous_format, torch.channels_last):
            given = tick()
            given["output"] = given["output"].to(dtype).contiguous(memory_format=layout)
            given["coefficients"][:, 3] = 0
            given["registers"][:, 2] = torch.nan
            given["output"][5] = torch.inf
            wanted = twins.combine_and_step(**given)
            for a, b in zip(kernels.tick.combine_and_step(**given), wanted, strict=True):
                assert torch.isfinite(b).all()
                same(a, b)


def check_tick_masks(kernels: Kernels) -> None:
    """Whatever has the factor 0 is not there: rows, x, the estimate and registers."""
    given = tick(n=2)
    given["output"][0] = torch.nan
    given["weights"] = torch.tensor([[1.0, 0, 0], [0, 7.5, 0]])
    given["scalings"] = torch.tensor([[1.0, 0], [0, 1.0]])
    given["registers"][1, 0] = torch.inf
    given["coefficients"][1, 1] = 0
    for found, wanted in zip(
        kernels.tick.combine_and_step(**given), twins.combine_and_step(**given), strict=True
    ):
        assert torch.isfinite(found).all()
        same(found, wanted)


def check_tick_alone(kernels: Kernels) -> None:
    together = tick()
    together["registers"][0] = torch.nan
    all_of_them = kernels.tick.combine_and_step(**together)
    for width in (2, 3):
        alone = {k: v if k == "output" else v[1:2] for k, v in together.items()}
        alone |= {k: alone[k][:, :width] for k in ("table", "weights")}
        for found, wanted in zip(kernels.tick.combine_and_step(**alone), all_of_them, strict=True):
            same(found, wanted[1:2])


def check_gather(kernels: Kernels) -> None:
    x, slots = numbers(3, 4, 19, 17), torch.tensor([2, 0, 2, 1])
    x[1] = torch.nan
    scales = torch.tensor([0.5, 0.7, 0.3, 0.0])
    for dtype, limit in PRECISIONS.items():
        for last in (False, True):
            found = kernels.tick.gather_scaled(x, slots, scales, dtype, channels_last=last)
            wanted = twins.gather_scaled(x, slots, scales, dtype, channels_last=last)
            assert found.stride() == wanted.stride()
            # The interpreter, unlike a GPU, cuts float32 off to get bfloat16.
            close(found, wanted, limit if dtype == torch.bfloat16 else 0.0)
            assert not found[3].any()


def check_refusals(kernels: Kernels) -> None:
    one = numbers(10)
    with pytest.raises(ValueError, match="10 channels"):
        kernels.norms.group_norm(numbers(1, 10, 2, 2), 3, one, one, 1e-5, silu=False)
    with pytest.raises(ValueError, match="5 is odd"):
        kernels.maps.geglu(numbers(2, 5))
    with pytest.raises(ValueError, match="one shape"):
        kernels.maps.residual(numbers(2, 5), numbers(2, 6))


CHECKS: Final = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}

# Not asked of twins: a GroupNorm on a CPU may share a map in channels_last out among threads by the
# size of the batch, half precision is rounded after every operation, and errors are PyTorch's.
OF_KERNELS: Final = {"group_norm", "group_norm_alone", "layer_norm", "geglu", "refusals"}


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in OF_KERNELS])
def test_the_twin_passes_the_checks_of_kernels(name: str) -> None:
    CHECKS[name](Kernels(norms=twins, maps=twins, tick=twins))
