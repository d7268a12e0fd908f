"""What each kind of adapter adds to a weight, as formulas over its factors.

Promises: every function returns delta W (out x in, or out x in x k x k flattened from dimension 1)
at strength 1, without the alpha of the file unless it says so. Works on meta tensors too, so that a
shape is known before memory is taken. Never touches a layer.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from diffusion.errors import CheckpointError

Parts = Mapping[str, Tensor]


def weight_kind(parts: Parts) -> str | None:
    """Return which formula a layer's parts belong to: "lora", "loha", "lokr", "diff" or None.

    Raises CheckpointError for parts of two kinds, and for factors that miss their counterpart.
    """
    kinds = [
        kind
        for kind, needed in (
            ("lora", ("down", "up")),
            ("loha", ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")),
            ("diff", ("diff",)),
        )
        if _all_or_none(parts, needed)
    ]
    if any(part.startswith("lokr_") for part in parts):
        for side in ("lokr_w1", "lokr_w2"):
            if side not in parts and not _all_or_none(parts, (f"{side}_a", f"{side}_b")):
                raise CheckpointError(f"{side} is missing: save the file again")
        kinds.append("lokr")
    if len(kinds) > 1:
        raise CheckpointError(f"it is {' and '.join(kinds)} at once: use one kind a layer")
    lonely = {"mid", "dora_scale", "magnitude", "hada_t1", "hada_t2"} & parts.keys()
    if lonely and not kinds:
        raise CheckpointError(f"{', '.join(sorted(lonely))} stands there without the factors")
    return kinds[0] if kinds else None


def delta(kind: str, parts: Parts, alpha: float | None) -> Tensor:
    """Return what a kind adds to the weight, times alpha / rank (alpha None or 0: times 1)."""
    if kind == "diff":
        return parts["diff"]
    if kind == "lora":
        return low_rank(parts) * scale(alpha, parts["down"].shape[0])
    if kind == "loha":
        return hadamard(parts) * scale(alpha, parts["hada_w1_b"].shape[0])
    factor = parts.get("lokr_w2_b", parts.get("lokr_w1_b"))
    return kronecker(parts) * (1.0 if factor is None else scale(alpha, factor.shape[0]))


def scale(alpha: float | None, rank: int) -> float:
    """Return alpha / rank, where no alpha, or 0, means alpha = rank."""
    return alpha / rank if alpha else 1.0


def low_rank(parts: Parts) -> Tensor:
    """Return up x down (Hu et al. 2021, section 4.1); with `mid`, the k x k core of a CP
    decomposition stands between two 1 x 1 factors (Yeh et al. 2023, LoCon).
    """
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    if "mid" not in parts:
        return up @ down
    return torch.einsum("pi,ijkl,jr->prkl", up, parts["mid"], down)


def hadamard(parts: Parts) -> Tensor:
    """Return (w1_a w1_b) * (w2_a w2_b), element by element (LoHa; Hyeon-Woo et al. 2021)."""
    factors = [
        _product(parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"], parts.get(f"hada_t{n}"))
        for n in (1, 2)
    ]
    return factors[0] * factors[1]


def kronecker(parts: Parts) -> Tensor:
    """Return w1 (x) w2, the Kronecker product (LoKr; Yeh et al. 2023, section 3)."""
    factors = [
        parts[side]
        if side in parts
        else _product(parts[f"{side}_a"], parts[f"{side}_b"], parts.get(tucker))
        for side, tucker in (("lokr_w1", ""), ("lokr_w2", "lokr_t2"))
    ]
    return torch.kron(factors[0].flatten(1), factors[1].flatten(1))


def decomposed(base: Tensor, change: Tensor, magnitude: Tensor, axis: str) -> Tensor:
    """Return what DoRA adds: m (W + dW) / |W + dW| - W (Liu et al. 2024, equation 5).

    The norm is taken for every row (`axis` "out") or every input channel ("in").
    """
    moved = base + change
    others = tuple(n for n in range(base.ndim) if n != (0 if axis == "out" else 1))
    norm = moved.square().sum(dim=others, keepdim=True).sqrt()
    tiny = torch.finfo(norm.dtype).tiny
    return moved * (magnitude.reshape(norm.shape) / norm.clamp_min(tiny)) - base


def _product(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    if core is None:
        return a @ b.flatten(1)
    return torch.einsum("ijkl,ip,jr->prkl", core, a, b)


def _all_or_none(parts: Parts, needed: tuple[str, ...]) -> bool:
    present = [part for part in needed if part in parts]
    if present and len(present) < len(needed):
        missing = ", ".join(sorted(set(needed) - set(present)))
        raise CheckpointError(f"{', '.join(present)} lacks {missing}: save the file again")
    return bool(present)
