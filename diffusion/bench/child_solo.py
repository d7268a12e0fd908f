"""The peak memory of one job, of one side: weights and work, nothing of the other side."""

from typing import Any

import torch

from diffusion.bench.peer import Peer, import_everything
from diffusion.bench.solo import EASEL, paint_ours, solo_params
from diffusion.bench.subjects import build, pick_device
from diffusion.bench.timing import Peak


def peak(*, side: str, model: str, device: str, job: dict[str, Any]) -> dict[str, float]:
    """Build a model and paint one job; return the most bytes that took.

    `job` is what `solo_params` takes. The peer's weights are ours under its names, so neither side
    holds them twice.
    """
    chosen = pick_device(device)
    if side != EASEL:
        import_everything()
    meter = Peak(torch.device(chosen.device))
    subject = build(model, chosen)
    params = solo_params(subject, **job)
    if side == EASEL:
        paint_ours(subject, params)
    else:
        Peer(subject).paint(params)
    return {"peak": float(meter.bytes)}
