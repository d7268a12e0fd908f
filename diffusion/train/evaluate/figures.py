"""A figure with its interval.

Promises: the same interval for the same values and seed. The interval is the percentile bootstrap
(Efron 1979) over whole prompts: pictures of one prompt are no independent witnesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean over pictures with its 95 % interval, and of how many prompts."""

    value: float
    low: float
    high: float
    prompts: int


def figure(values: Sequence[float] | Values, prompts: Sequence[int], seed: int = 0) -> Figure:
    """Return the mean of `values`; `prompts[i]` says which prompt value i belongs to.

    ValueError without values, or when the two do not fit.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 0 or numbers.shape != (len(prompts),):
        raise ValueError(f"{numbers.shape} values for {len(prompts)} prompts; give one each.")
    _, group = np.unique(np.asarray(prompts), return_inverse=True)
    sums, sizes = np.bincount(group, weights=numbers), np.bincount(group)
    draws = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(value=float(numbers.mean()), low=float(low), high=float(high), prompts=len(sums))
