"""The noise levels one run visits.

Promises: plain numbers on the host, so no device is ever waited for. Never knows pictures.
"""

from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """N steps: N + 1 decreasing noise levels and the N timesteps the network is asked at.

    sigmas: of x = x0 + sigma eps. The last is 0, or above 0 where the reference ends at the table's
    own lowest level; the picture is then x / sqrt(1 + sigma^2), as the latents of a
    variance-preserving sampler are. table: the level of every whole timestep, for samplers that go
    to levels of their own (TCD). planned: the steps of the run this one is the end of (image to
    image), since some rules speak of those. fixed_large: DDPM draws with the larger variance.
    """

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]
    table: tuple[float, ...] = field(default=(), repr=False)
    planned: int = 0
    fixed_large: bool = False

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.timesteps) + 1:
            raise ValueError(
                f"{len(self.sigmas)} levels for {len(self.timesteps)} timesteps; one more is needed"
            )
        if self.planned == 0:
            object.__setattr__(self, "planned", len(self.timesteps))

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.timesteps)

    def end(self, steps: int) -> Self:
        """Return the last `steps` steps of these, as image to image runs them."""
        first = self.steps - steps
        if not 0 <= first < self.steps:
            raise ValueError(f"{steps} of {self.steps} steps")
        return replace(self, sigmas=self.sigmas[first:], timesteps=self.timesteps[first:])

    def timestep(self, sigma: float) -> float | None:
        """Return the timestep the network is asked at for a level visited; None for others."""
        for level, timestep in zip(self.sigmas, self.timesteps, strict=False):
            if level == sigma:
                return timestep
        return None
