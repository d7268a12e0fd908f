"""One painting: its noise is its own, whatever is painted beside it."""

import pytest
import torch

from diffusion import Params
from diffusion.conditions import Condition, Guide, Strand
from diffusion.denoiser import input_scale
from diffusion.noise import PictureNoise
from diffusion.painting import Painting, start_painting
from diffusion.plan import plan_for
from tests.tiny import tiny_model

SHAPE = (4, 4, 4)


def guide(rows: int, *, scale: float = 3.0) -> Guide:
    """One positive condition, and with two rows a negative one."""
    condition = Condition(context=torch.zeros(16, 32), added=None)
    strand = Strand(weight=1.0, stages=((4, condition),))
    return Guide(
        positives=(strand,),
        negative=strand if rows == 2 else None,
        scale=scale,
        rescale=0.0,
        embedded=None,
    )


def start(
    *,
    seed: int = 3,
    sampler: str = "euler_a",
    rows: int = 2,
    source: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    strength: float = 1.0,
) -> Painting:
    params = Params(
        prompt="x",
        steps=4,
        width=32,
        height=32,
        sampler=sampler,
        guidance_scale=3.0,
        init_image=None if source is None else "0" * 64,
        mask=None if mask is None else "1" * 64,
        strength=0.75 if source is None else strength,
    )
    plan = plan_for(tiny_model(), params, has_image=source is not None)
    noise = PictureNoise(SHAPE, seed=seed)
    return start_painting(
        plan, guide=guide(rows), noise=noise, start=noise(), source=source, mask=mask
    )


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


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "heun", "dpmpp_2m", "ddpm", "plms"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_what_a_mask_keeps_is_seen_noised_and_comes_back_exactly(
    sampler: str, strength: float
) -> None:
    source = torch.randn(SHAPE, generator=torch.Generator().manual_seed(8))
    mask = torch.zeros(1, *SHAPE[1:])
    mask[:, :, 2:] = 1
    painting = start(sampler=sampler, source=source, mask=mask, strength=strength)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    first = True
    while painting.request is not None:
        x, sigma = painting.request
        kept = (source + noise * sigma) if strength < 1 or not first else None
        if kept is not None:
            assert torch.allclose(x[:, :, :2], kept[:, :, :2], rtol=1e-5, atol=1e-5)
        first = False
        painting.answer(x * 0.5)
        assert painting.denoised is not None
        assert torch.equal(painting.denoised[:, :, :2], source[:, :, :2])
    assert painting.finished is not None
    end = source * painting.plan.end_scale
    if painting.plan.sigmas[-1] == 0:
        assert torch.equal(painting.finished[:, :, :2], end[:, :, :2])
    assert not torch.allclose(painting.finished[:, :, 2:], end[:, :, 2:], atol=0.05)
