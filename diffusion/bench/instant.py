"""Models changed for a measurement: a network that answers at once, passes that are always full.

Promises: everything around the forward pass is the engine's own; the model that is given stays as
it is.
"""

import copy
from collections.abc import Hashable, Sequence
from dataclasses import replace

from torch import Tensor

from diffusion.bench.errors import BenchError
from diffusion.model import Measured, Model
from diffusion.networks.unet import UNet
from diffusion.pace import Pace


class _Full(Pace):
    """A pace that never holds a pass back: every pass has as many rows as there are."""

    def cap(self, kind: Hashable, most: int) -> int:
        """Return the most rows that a pass may have."""
        del kind
        return most


def always_full(model: Model) -> Model:
    """Return a copy of a model whose passes are full from the first, whatever pays."""
    changed = replace(model)
    # Models are frozen, and what was measured of them is no argument of theirs.
    object.__setattr__(changed, "measured", Measured(pace=_Full()))
    return changed


def instant(model: Model) -> Model:
    """Return a copy of a model over the same weights whose network returns its own input.

    Its memory of certificates, paces and hoisted rows is its own. BenchError for a network that is
    no U-Net.
    """
    if not isinstance(model.backbone, UNet):
        raise BenchError(f"{model.info.name} has no U-Net of the family that is measured")
    backbone = copy.copy(model.backbone)
    channels = backbone.config.out_channels

    def run(
        x: Tensor,
        times: Tensor,
        contexts: Sequence[Tensor],
        *,
        control: Sequence[Tensor] | None = None,
    ) -> Tensor:
        del times, contexts, control
        # Nothing is computed, and samplers stay in their range.
        return x[:, :channels]

    # On the object alone: every other model keeps its network's own.
    object.__setattr__(backbone, "run", run)
    return replace(model, backbone=backbone)
