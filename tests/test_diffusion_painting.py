"""One painting: its noise is its own, whatever is painted beside it."""

import pytest
import torch

from diffusion import Params
from diffusion.denoiser import input_scale
from diffusion.painting import Painting, start_painting
from diffusion.plan import plan_for
from tests.tiny import tiny_model

SHAPE = (4, 4, 4)


def start(*, seed: int = 3, sampler: str = "euler_a", rows: int = 2) -> Painting:
    params = Params(prompt="x", steps=4, width=32, height=32, sampler=sampler, guidance_scale=3.0)
    plan = plan_for(tiny_model(), params, has_image=False)
    context = torch.zeros(rows, 16, 32)
    return start_painting(plan, seed=seed, shape=SHAPE, context=context, noise=None, source=None)


def finish(painting: Painting, *, others: int) -> torch.Tensor:
    """Answer every question with half the latents, drawing foreign noise in between."""
    while painting.request is not None:
        torch.randn(others)
        painting.answer(painting.request[0] * 0.5)
    assert painting.finished is not None
    return painting.finished


def test_it_starts_from_the_generator_of_its_seed() -> None:
    painting = start()
    assert painting.request is not None
    x, sigma = painting.request
    noise = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(3))
    assert torch.equal(x, noise * painting.plan.start_scale)
    assert sigma == painting.plan.sigmas[0]
    assert torch.equal(painting.network_input(), x * input_scale(sigma))
    assert painting.timestep() == pytest.approx(999.0)


def test_noise_of_the_steps_is_its_own_too() -> None:
    torch.manual_seed(1)
    one = finish(start(), others=1)
    torch.manual_seed(2)
    assert torch.equal(finish(start(), others=7), one)
    assert not torch.equal(finish(start(seed=4), others=1), one)


def test_guidance_moves_away_from_the_negative_row() -> None:
    painting = start()
    outputs = torch.stack([torch.ones(SHAPE), torch.zeros(SHAPE)])
    guided = painting.estimate(outputs)
    alone = start(rows=1).estimate(torch.full((1, *SHAPE), 3.0))
    assert torch.allclose(guided, alone), "w = 3 times the difference of 1"


def test_a_closed_painting_waits_for_nothing() -> None:
    painting = start()
    painting.close()
    assert painting.request is None
    with pytest.raises(RuntimeError, match="waits for nothing"):
        painting.network_input()
