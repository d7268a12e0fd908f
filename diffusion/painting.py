"""One picture in the making: a sampler coroutine, the noise it draws, and the rows it needs
answered.

Promises: everything outside the network happens here, in float32, for one picture alone, so it
cannot depend on what else is being painted.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from diffusion.denoiser import combine_guidance, input_scale, to_denoised
from diffusion.plan import Plan
from diffusion.samplers import Sampling


@dataclass(slots=True, eq=False)
class Painting:
    """The state of one picture.

    `request` is the (x, sigma) the sampler waits on, None once it is done; `context` is rows x T x
    D, the positive prompt first; `finished` holds the C x h x w latents in the end; `denoised` the
    latest estimate.
    """

    plan: Plan
    coroutine: Sampling[Tensor]
    shape: torch.Size
    context: Tensor
    request: tuple[Tensor, float] | None = None
    denoised: Tensor | None = None
    finished: Tensor | None = None
    answered: int = 0
    last_tick: int = field(default=0)

    @property
    def rows(self) -> int:
        """Rows of one forward pass: positive and negative, or positive alone."""
        return len(self.context)

    def network_input(self) -> Tensor:
        """Return c_in(sigma) x, what the network sees (Karras et al. 2022, equation 7)."""
        x, sigma = self._pending()
        return x * input_scale(sigma)

    def timestep(self) -> float:
        """Return the network's (fractional) timestep for the noise level waited on."""
        return self.plan.noise_schedule.timestep(self._pending()[1])

    def estimate(self, outputs: Tensor) -> Tensor:
        """Combine the network's raw outputs (rows x C x h x w) to the denoised estimate."""
        x, sigma = self._pending()
        if len(outputs) == 2:
            combined = combine_guidance(outputs[0], outputs[1], self.plan.guidance_scale)
        else:
            combined = outputs[0]
        return to_denoised(self.plan.noise_schedule.prediction_type, x, combined, sigma)

    def answer(self, denoised: Tensor) -> None:
        """Send the sampler what it waits for, and run it to its next question or its end."""
        self.answered += 1
        self.denoised = denoised
        if self.answered == self.plan.evaluations:
            # Stopped early, the estimate is the picture; at the full number of steps it may be too:
            # see below.
            self._end(denoised)
            return
        self.request = self.coroutine.send(denoised)

    def _end(self, denoised: Tensor) -> None:
        self.request = None
        if self.plan.stopped:
            self.finished = denoised
            self.close()
            return
        try:
            self.coroutine.send(denoised)
        except StopIteration as end:
            self.finished = end.value
        else:
            raise RuntimeError("the sampler asked for more estimates than its plan has")

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
    seed: int,
    shape: tuple[int, int, int],
    context: Tensor,
    noise: Tensor | None,
    source: Tensor | None,
) -> Painting:
    """Draw the starting noise of one picture and run its sampler to the first question.

    The generator is a CPU one whatever the device, and draws in float32: half precision would draw
    other numbers. `source` (C x h x w latents) makes it image to image: x = source + sigma noise.
    """
    generator = torch.Generator("cpu").manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(shape, generator=generator)

    start = draw()
    if noise is not None:
        start = noise.float().cpu()
    x = start * plan.start_scale if source is None else source + start * plan.sigmas[0]
    # The registry holds samplers of every kind of latents; these are tensors.
    coroutine = cast(Sampling[Tensor], plan.sampler.start(x, plan.sigmas, draw))
    painting = Painting(plan=plan, coroutine=coroutine, shape=x.shape, context=context)
    painting.request = next(coroutine)
    return painting
