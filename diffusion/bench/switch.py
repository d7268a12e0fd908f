"""Loading and changing models: cold from the page cache to the first tick, and between residents.

Promises: every cold start is a process of its own with the files in the page cache, the sides in
turn; a switch is what a job costs more when the job before it was another model's.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from diffusion.bench.child import ask
from diffusion.bench.peer import Peer, job_noise
from diffusion.bench.report import Figure, Report, ratios, seconds
from diffusion.bench.solo import DIFFUSERS, EASEL
from diffusion.bench.subjects import SHIPPED, build, job_params, pick_device, positions
from diffusion.bench.tick import paint_all
from diffusion.bench.timing import in_turn
from diffusion.model import Model
from diffusion.params import Params
from diffusion.residency import CudaMover, Mover

_MIB: Final = 2**20
_TURNS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two resident models of one kind and the job that both are given, alternately or not."""

    models: tuple[Model, Model]
    params: Params


def switch(
    model: str = "emoji",
    *,
    latent: int | None = None,
    rounds: int = 3,
    device: str = "auto",
    peer: bool = True,
) -> Report:
    """Measure loads and switches of the shipped model or a random "sd15". Raises BenchError.

    `peer` False leaves diffusers out: the figures of Easel alone then stand beside its own load.
    """
    chosen = pick_device(device)
    side = positions(model, latent, chosen.device)
    # First, while nothing else is held.
    figures, facts = _cold(model, chosen.device, chosen.dtype, side, rounds, peer=peer)
    first = build(model, chosen)
    pixels = side * first.vae.config.downscale
    params = job_params(first, steps=2, images=1, width=pixels, height=pixels)
    pair = _Pair(models=(first, build(model, chosen, seed=9)), params=params)
    figures += _resident(pair, rounds, peer=peer)
    if first.device.type != "cpu":
        figures.append(from_host(first, params, rounds, CudaMover(first.device)))
    return Report(
        command=f"easel bench switch --model {model}",
        model=model,
        device=chosen.description,
        figures=tuple(figures),
        facts=facts,
    )


def _cold(
    model: str, device: str, dtype: str, latent: int, rounds: int, *, peer: bool
) -> tuple[list[Figure], dict[str, object]]:
    layouts = ("folder",) if model == SHIPPED else ("folder", "single")
    sides = {EASEL: (EASEL, "single")}
    if peer:
        sides |= {f"{DIFFUSERS}, {layout}": (DIFFUSERS, layout) for layout in layouts}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory(prefix="easel-switch-") as folder:
        question: dict[str, object] = {"model": model, "folder": folder}
        weights = ask("write", {**question, "dtype": dtype, "peer": peer})["weights"]
        for number in range(rounds + 1):
            for name, (side, layout) in sides.items():
                asked = {**question, "side": side, "layout": layout, "device": device}
                answer = ask("load", {**asked, "latent": latent})
                if number:
                    # The first only fills the page cache.
                    found[name].append(answer)
    return _cold_figures(found, weights), {"weights": weights, "loads": found}


def _cold_figures(found: dict[str, list[dict[str, float]]], weights: float) -> list[Figure]:
    def column(name: str, what: str) -> list[float]:
        return [run[what] for run in found[name]]

    ours = column(EASEL, "seconds")
    figures = [
        Figure(
            name=f"cold start to the first tick, {EASEL} / {name}",
            values=ratios(ours, column(name, "seconds")),
            note=f"{seconds(statistics.median(ours))} against "
            f"{seconds(statistics.median(column(name, 'seconds')))}",
        )
        for name in found
        if name != EASEL
    ]
    figures.append(
        Figure(
            name="cold start: the load alone, of the way to the first tick",
            values=tuple(100 * value for value in ratios(column(EASEL, "load"), ours)),
            unit="%",
            note=seconds(statistics.median(ours)),
        )
    )
    for name, runs in found.items():
        for field, where in (("peak", "host"), ("device_peak", "device")):
            if field not in runs[0]:
                continue
            peaks = column(name, field)
            figures.append(
                Figure(
                    name=f"peak {where} memory of a cold start, of the weights ({name})",
                    values=tuple(peak / weights for peak in peaks),
                    goal="≤ 1.15" if name == EASEL and where == "host" else "",
                    note=f"{statistics.median(peaks) / _MIB:.0f} of {weights / _MIB:.0f} MiB",
                )
            )
    return figures


def _resident(pair: _Pair, rounds: int, *, peer: bool) -> list[Figure]:
    """Return what a job costs when the one before it was the other model's, of what it costs when
    it was the same one's.
    """
    ours = _alternating(pair, lambda model: lambda: paint_all(model, [pair.params]), rounds)
    figures = [_switching(EASEL, *ours)]
    if peer:
        noise = job_noise(pair.models[0], pair.params)

        def painter(model: Model) -> Callable[[], object]:
            twin = Peer(model)
            return lambda: twin.paint(pair.params, noise)

        figures.append(_switching(DIFFUSERS, *_alternating(pair, painter, rounds)))
    return figures


def _alternating(
    pair: _Pair, painter: Callable[[Model], Callable[[], object]], rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of as many jobs alternately and in two blocks, round by round."""
    first, second = (painter(model) for model in pair.models)

    def run(*jobs: Callable[[], object]) -> None:
        for job in jobs:
            job()

    found = in_turn(
        {
            "alternating": lambda: run(*((first, second) * _TURNS)),
            "staying": lambda: run(*((first,) * _TURNS + (second,) * _TURNS)),
        },
        rounds=rounds,
        device=pair.models[0].device,
    )
    return found["alternating"], found["staying"]


def _switching(side: str, alternating: list[float], staying: list[float]) -> Figure:
    # Alternating has 2 n - 1 switches, two blocks have one.
    more = statistics.median(
        (a - b) / (2 * _TURNS - 2) for a, b in zip(alternating, staying, strict=True)
    )
    each = statistics.median(staying) / (2 * _TURNS)
    return Figure(
        name=f"jobs alternating between two resident models, of staying with one ({side})",
        values=ratios(alternating, staying),
        goal="≤ 1.05" if side == EASEL else "",
        note=f"{seconds(max(0.0, more))} a switch, {seconds(each)} a job of two steps",
    )


def from_host(model: Model, params: Params, rounds: int, mover: Mover) -> Figure:
    """Return what bringing a model's weights back from host memory takes, of a job of two steps,
    with the engine's own copies.
    """
    text = () if model.text is None else (encoder.model for encoder in model.text.encoders)
    networks: list[torch.nn.Module] = [model.backbone, model.vae, *text]
    weights = [parameter for network in networks for parameter in network.parameters()]
    kept = [mover.to_host(weight.detach()) for weight in weights]

    @torch.no_grad()
    def bring() -> None:
        for weight, host in zip(weights, kept, strict=True):
            weight.data = mover.to_device(host)
        mover.finish()

    found = in_turn(
        {"bring": bring, "job": lambda: paint_all(model, [params])},
        rounds=rounds,
        device=model.device,
    )
    return Figure(
        name="weights from host memory to the device, of a job of two steps",
        values=ratios(found["bring"], found["job"]),
        goal="≤ 0.3 s",
        note=seconds(statistics.median(found["bring"])),
    )
