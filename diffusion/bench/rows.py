"""How long a row takes in batches of one to many, and how much of the device's matrix rate that is.

The rate is the best of plain matrix products, timed in the same rounds; the work of a row is
counted by PyTorch's own counter on the network without memory (multiply and add are two, soft-max
and element-wise work nothing), keys and values of the text left out, as they are computed once a
job. Promises: the network is asked as the engine asks it.
"""

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diffusion.bench.errors import BenchError
from diffusion.bench.report import Figure, Report, ratios, seconds
from diffusion.bench.subjects import build, pick_device, side_for
from diffusion.bench.timing import clock
from diffusion.conditions import guide_for
from diffusion.model import Model
from diffusion.networks.convolution import is_plain, product
from diffusion.networks.unet import UNet
from diffusion.params import Params

SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
_BASE: Final = 2
# Sides of the matrix products: large enough for the full rate, quick enough to be repeated.
_PRODUCTS: Final = {"cpu": (768, 1536), "cuda": (4096, 8192)}
_TIMESTEP: Final = 601.0


def rows(
    model: str = "emoji",
    *,
    latent: int | None = None,
    sizes: Sequence[int] = SIZES,
    rounds: int = 5,
    device: str = "auto",
) -> Report:
    """Time one pass of every batch size and the matrix products, `rounds` times in turn.

    A size that does not fit into the device's memory ends the list. Raises BenchError.
    """
    if not sizes or min(sizes) < 1 or rounds < 1:
        raise BenchError("give batch sizes from 1 on and at least one round")
    chosen = pick_device(device)
    subject = build(model, chosen)
    side = side_for(subject, latent)
    asked = _Asked(subject, side)
    fitting = _fitting(asked, sorted({*sizes, _BASE}), subject.device)
    products = [_product(n, subject) for n in _PRODUCTS[subject.device.type]]
    passes: dict[int, list[float]] = {size: [] for size in fitting}
    rates: list[float] = []
    for _ in range(rounds):
        rates.append(max(_rate(product, subject.device) for product in products))
        for size in fitting:
            passes[size].append(clock(partial(asked, size), subject.device) / size)
    flops = row_flops(subject, side)
    return Report(
        command=f"easel bench rows --model {model} --latent {asked.latent}",
        model=model,
        device=chosen.description,
        figures=tuple(_figures(passes, rates, flops)),
        facts={
            "row_seconds": {str(size): times for size, times in passes.items()},
            "row_flops": flops,
            "matrix_flops_per_second": rates,
        },
    )


def row_flops(model: Model, side: int) -> int:
    """Return the floating-point operations of one row of a pass, for pictures of `side` pixels."""
    backbone = _unet(model)
    with torch.device("meta"), torch.inference_mode():
        bare = UNet(backbone.config).eval()
        config = backbone.config
        context = torch.empty(1, _tokens(model), config.context_dim or 0)
        added = torch.empty(1, config.added_dim) if config.added_dim else None
        times, contexts = bare.time_row(_TIMESTEP, added), bare.context_row(context[0])
        x = torch.empty(1, *model.latent_shape(side, side))
        counter = FlopCounterMode(display=False)
        with counter:
            bare.run(x, times[None], [part[None] for part in contexts])
    return int(counter.get_total_flops())


class _Asked:
    """The network over as many rows as wanted, with their hoisted times and contexts."""

    def __init__(self, model: Model, side: int) -> None:
        self._network = _unet(model)
        shape = model.latent_shape(side, side)
        self.latent = shape[2]
        params = Params(prompt="red heart", width=side, height=side)
        guide = guide_for(model, params, model.encode_prompts, width=side, height=side)
        condition = guide.at(0)[0]
        placed = [
            None if part is None else part.to(model.device, model.dtype)
            for part in (condition.context, condition.added)
        ]
        with torch.inference_mode():
            self._times = self._network.time_row(_TIMESTEP, placed[1])
            self._contexts = self._network.context_row(placed[0])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        self._x = noise.to(model.device, model.dtype)

    @torch.inference_mode()
    def __call__(self, rows: int) -> Tensor:
        """Return the network's prediction for `rows` rows."""
        contexts = [part.expand(rows, *part.shape).contiguous() for part in self._contexts]
        x, times = self._x.repeat(rows, 1, 1, 1), self._times.repeat(rows, 1)
        return self._network.run(x, times, contexts)


def _fitting(asked: _Asked, sizes: Sequence[int], device: torch.device) -> list[int]:
    """Run every size once; return those that memory allows."""
    found = []
    for size in sizes:
        try:
            clock(partial(asked, size), device)
        except torch.OutOfMemoryError:
            break
        found.append(size)
    if _BASE not in found:
        raise BenchError(f"not even {_BASE} rows fit into the device's memory; try --latent")
    return found


def _figures(passes: dict[int, list[float]], rates: list[float], flops: int) -> list[Figure]:
    base = seconds(statistics.median(passes[_BASE]))
    found = [
        Figure(
            name=f"row time in a batch of {size}",
            values=ratios(times, passes[_BASE]),
            group=f"row time by batch, of that in a batch of {_BASE} ({base})",
            label=f"{size} rows",
        )
        for size, times in passes.items()
        if size != _BASE
    ]
    for size, times in passes.items():
        shares = (100 * flops / t / rate for t, rate in zip(times, rates, strict=True))
        found.append(
            Figure(
                name=f"share of the matrix rate, batch of {size}",
                values=tuple(shares),
                unit="%",
                group=f"share of the matrix rate ({statistics.median(rates) / 1e9:.3g} GFLOP/s)",
                label=f"{size} rows",
            )
        )
    return found


def _product(side: int, model: Model) -> Tensor:
    matrix = torch.ones(side, side, device=model.device, dtype=model.dtype) / side
    clock(lambda: matrix @ matrix, model.device)
    return matrix


def _rate(matrix: Tensor, device: torch.device) -> float:
    """Return the operations a second of a matrix times itself, by PyTorch's product or by the one
    that linear layers use here, whichever is faster.
    """
    seconds = clock(lambda: matrix @ matrix, device)
    if is_plain(matrix, matrix):
        with torch.inference_mode():
            seconds = min(seconds, clock(lambda: product(matrix, matrix, None), device))
    return 2 * len(matrix) ** 3 / seconds


def _unet(model: Model) -> UNet:
    if not isinstance(model.backbone, UNet):
        raise BenchError(f"{model.info.name} has no U-Net of the family that is measured")
    return model.backbone


def _tokens(model: Model) -> int:
    return 0 if model.text is None else model.text.encoders[0].config.window
