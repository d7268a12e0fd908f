"""One picture in the making: a sampler coroutine, the noise it draws, and the rows it needs
answered.

Promises: everything outside the network happens here, in float32, for one picture alone, so it
cannot depend on what else is being painted.

## Why repainting is done at the network's input
Where a mask keeps the old picture, the network must see that picture at the present noise level.
Every sampler is a linear map that never mixes positions, so what it carries along in the kept area
touches nothing: replacing that area whenever the network is asked, and once at the end, gives the
same picture as replacing it after every step (the reference's rule), whatever the sampler.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from diffusion.conditions import Condition, Guide
from diffusion.denoiser import clip, input_scale, to_denoised
from diffusion.errors import ParamsError
from diffusion.noise import PictureNoise
from diffusion.plan import Plan
from diffusion.samplers import Sampling


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """The part of a picture that stays. latents, noise: C x h x w; mask: 1 x h x w, 1 = painted."""

    latents: Tensor
    noise: Tensor
    mask: Tensor

    def at(self, x: Tensor, sigma: float) -> Tensor:
        """Put the old picture, noised to `sigma`, where the mask keeps it."""
        return x * self.mask + (self.latents + self.noise * sigma) * (1 - self.mask)


@dataclass(slots=True, eq=False)
class Painting:
    """The state of one picture.

    `request` is the (x, sigma) the sampler waits on, None once it is done; `channels` is what an
    inpainting network sees beside the latents; `finished` holds the C x h x w latents in the end;
    `denoised` the latest estimate.
    """

    plan: Plan
    guide: Guide
    coroutine: Sampling[Tensor]
    shape: torch.Size
    kept: Kept | None = None
    channels: Tensor | None = None
    request: tuple[Tensor, float] | None = None
    denoised: Tensor | None = None
    finished: Tensor | None = None
    answered: int = 0
    # Kept where the job stops early: it goes on from them (see `saved`).
    answers: list[Tensor] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of one forward pass for this picture."""
        return self.guide.rows

    @property
    def steps_done(self) -> int:
        """Sampler steps that are behind it."""
        return self.answered * self.plan.steps // self.plan.all_evaluations

    @property
    def waits(self) -> bool:
        """Whether it wants an estimate."""
        return self.request is not None

    def conditions(self) -> list[Condition]:
        """Return what every row is conditioned on now, the negative row last."""
        return self.guide.at(self.plan.step(self.answered))

    def network_input(self) -> Tensor:
        """Return c_in(sigma) x, what the network sees (Karras et al. 2022, equation 7)."""
        x, sigma = self._pending()
        scaled = x * input_scale(sigma)
        return scaled if self.channels is None else torch.cat([scaled, self.channels])

    def timestep(self) -> float:
        """Return the network's (fractional) timestep for the noise level waited on."""
        return self.plan.timestep(self._pending()[1])

    def estimate(self, outputs: Tensor) -> Tensor:
        """Combine the network's raw outputs (rows x C x h x w) to the denoised estimate."""
        x, sigma = self._pending()
        combined = self.guide.combine(outputs)
        schedule = self.plan.noise_schedule
        denoised = to_denoised(schedule.prediction_type, x, combined, sigma)
        return clip(denoised, schedule.clip_range)

    def answer(self, denoised: Tensor) -> None:
        """Send the sampler what it waits for, and run it to its next question or its end."""
        self.answered += 1
        if self.plan.stopped:
            self.answers.append(denoised)
        self.denoised = self._with_kept(denoised, 0.0)
        if self.answered == self.plan.evaluations:
            # Stopped early, the estimate is the picture; at the full number of steps it may be too:
            # see below.
            self._end(denoised)
            return
        x, sigma = self.coroutine.send(denoised)
        self.request = self._with_kept(x, sigma), sigma

    def _end(self, denoised: Tensor) -> None:
        self.request = None
        if self.plan.stopped:
            self.finished = self.denoised
            self.close()
            return
        try:
            self.coroutine.send(denoised)
        except StopIteration as end:
            x = cast(Tensor, end.value)
            # What was kept is the old picture itself, even where the levels end above 0.
            self.finished = self._with_kept(x * self.plan.end_scale, 0.0)
        else:
            raise RuntimeError("the sampler asked for more estimates than its plan has")

    def _with_kept(self, x: Tensor, sigma: float) -> Tensor:
        return x if self.kept is None else self.kept.at(x, sigma)

    def close(self) -> None:
        """End the sampler, wherever it is."""
        self.request = None
        self.coroutine.close()

    def _pending(self) -> tuple[Tensor, float]:
        if self.request is None:
            raise RuntimeError("this painting waits for nothing")
        return self.request


def start_painting(
    plan: Plan,
    *,
    guide: Guide,
    noise: PictureNoise,
    start: Tensor,
    source: Tensor | None = None,
    mask: Tensor | None = None,
    channels: Tensor | None = None,
) -> Painting:
    """Run a picture's sampler to its first question.

    `start` is its starting noise (C x h x w, standard normal), `noise` draws what the sampler needs
    on its way. `source` (C x h x w latents) makes it image to image: x = source + sigma start, and
    with a `mask` (1 x h x w) only where that is 1.
    """
    if source is None or plan.pure_noise:
        x = start * plan.start_scale
    else:
        x = source + start * plan.sigmas[0]
    kept = None
    if mask is not None:
        if source is None:
            raise ParamsError("mask", None, "repainting needs the picture that is repainted")
        kept = Kept(latents=source, noise=start, mask=mask)
    # The registry holds samplers of every kind of latents; these are tensors.
    coroutine = cast(Sampling[Tensor], plan.sampler.start(x, plan.levels, noise, eta=plan.eta))
    painting = Painting(
        plan=plan,
        guide=guide,
        coroutine=coroutine,
        shape=x.shape,
        kept=kept,
        channels=channels,
    )
    # The first question sees x as it is: at full strength that is noise alone, everywhere.
    painting.request = next(coroutine)
    return painting
