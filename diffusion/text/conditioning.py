"""What text encoders give."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """Encoded prompts. context: N x T x D, one row a prompt. pooled: N x P, or None."""

    context: Tensor
    pooled: Tensor | None = None
