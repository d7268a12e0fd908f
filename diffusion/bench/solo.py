"""One job against diffusers: the same weights, noise, steps and sampler, in turn: time and memory.

Promises: times are taken in one process, both sides in turn; the peak memory of each side in a
process of its own, from before the weights are there to the finished pictures.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
from PIL import Image

from diffusion.bench.child import ask
from diffusion.bench.errors import BenchError
from diffusion.bench.peer import SAMPLERS, Peer, job_noise
from diffusion.bench.report import Figure, Report, ratios, seconds
from diffusion.bench.subjects import build, job_params, pick_device, side_for
from diffusion.bench.timing import in_turn
from diffusion.generation import generate
from diffusion.model import Model
from diffusion.params import Params

EASEL: Final = "Easel"
DIFFUSERS: Final = "diffusers"
COMPILED: Final = "diffusers compiled"
IMAGES: Final = 4
_MIB: Final = 2**20


def solo(
    model: str = "emoji",
    *,
    latent: int | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    rounds: int = 5,
    device: str = "auto",
    compiled: bool = False,
    memory: bool = True,
) -> Report:
    """Time one guided job of four pictures on both sides, `rounds` times in turn.

    `latent` is the latents' side in positions, `compiled` adds the peer with compiled blocks,
    `memory` measures each side's peak too. Raises BenchError.
    """
    chosen = pick_device(device)
    if sampler is not None and sampler not in SAMPLERS:
        raise BenchError(f"no sampler {sampler!r} to compare; there are {', '.join(SAMPLERS)}")
    job = {"latent": latent, "steps": steps, "sampler": sampler}
    # First, while nothing else is held: the largest model is there once at a time.
    peaks = _peaks(model, chosen.device, job) if memory else {}
    subject = build(model, chosen)
    params = solo_params(subject, latent=latent, steps=steps, sampler=sampler)
    apart, found = _timed(subject, params, rounds, compiled=compiled)
    positions = subject.latent_shape(params.width, params.height)[2]
    command = f"easel bench solo --model {model} --latent {positions} --steps {params.steps}"
    return Report(
        command=command + (" --compile" if compiled else ""),
        model=model,
        device=chosen.description,
        figures=(*_figures(found, apart, chosen.device), *_memory(peaks)),
        facts={"seconds": found, "rows": 2 * IMAGES, "latent": positions, "peak_bytes": peaks},
    )


def solo_params(
    model: Model, *, latent: int | None, steps: int | None, sampler: str | None
) -> Params:
    """Return the job that both sides paint: four guided pictures, all else as the model likes it.

    `latent`: the latents' side in positions. Raises BenchError.
    """
    side = side_for(model, latent)
    return job_params(model, steps=steps, images=IMAGES, sampler=sampler, width=side, height=side)


def _figures(found: Mapping[str, list[float]], apart: float, device: str) -> list[Figure]:
    ours = min(found[EASEL])
    figures = [
        Figure(
            name=f"speed, Easel / {name}",
            values=ratios(times, found[EASEL]),
            goal=_goal(name, device),
            note=f"at best {seconds(ours)} against {seconds(min(times))}",
        )
        for name, times in found.items()
        if name != EASEL
    ]
    figures.append(
        Figure(name="mean difference of the pictures", values=(apart,), unit="of 255", goal="< 1")
    )
    return figures


def _memory(peaks: Mapping[str, float]) -> list[Figure]:
    if not peaks:
        return []
    ours, theirs = peaks[EASEL], peaks[DIFFUSERS]
    return [
        Figure(
            name="peak memory, Easel / diffusers",
            values=(ours / theirs,),
            goal="≤ 1",
            note=f"{ours / _MIB:.0f} MiB against {theirs / _MIB:.0f} MiB",
        )
    ]


def _peaks(model: str, device: str, job: Mapping[str, object]) -> dict[str, float]:
    question = {"model": model, "device": device, "job": job}
    return {side: ask("solo", {**question, "side": side})["peak"] for side in (EASEL, DIFFUSERS)}


def paint_ours(model: Model, params: Params) -> list[Image.Image]:
    """Paint a job alone with Easel."""
    *_, last = generate(model, params)
    return list(last.pictures or ())


def difference(first: list[Image.Image], second: list[Image.Image]) -> float:
    """Return the largest mean absolute difference of two jobs' pictures, of 255."""
    return max(
        float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())
        for a, b in zip(first, second, strict=True)
    )


def _timed(
    model: Model, params: Params, rounds: int, *, compiled: bool
) -> tuple[float, dict[str, list[float]]]:
    """Return how far the pictures are apart, and the seconds of every side."""
    peers = {DIFFUSERS: Peer(model)} | ({COMPILED: Peer(model, compiled=True)} if compiled else {})
    noise = job_noise(model, params)
    # A warm-up of both, which also shows that both paint the same.
    apart = difference(paint_ours(model, params), peers[DIFFUSERS].paint(params, noise))
    sides: dict[str, Callable[[], object]] = {EASEL: partial(paint_ours, model, params)}
    sides |= {name: partial(peer.paint, params, noise) for name, peer in peers.items()}
    return apart, in_turn(sides, rounds=rounds, device=model.device)


def _goal(peer: str, device: str) -> str:
    if device == "cpu":
        return "≥ 1.2"
    return "≥ 1.7" if peer == COMPILED else "≥ 3"
