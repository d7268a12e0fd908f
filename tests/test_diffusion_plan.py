"""Plans: which noise levels a job visits, from where, until when."""

from dataclasses import replace

import pytest

from diffusion import Params, ParamsError
from diffusion.networks.vae import AutoencoderKL
from diffusion.plan import plan_for
from diffusion.schedules import karras
from tests.tiny import tiny_model

PARAMS = Params(prompt="x", steps=10, width=32, height=32)


def test_levels_fall_to_zero_from_the_schedules_top() -> None:
    model = tiny_model()
    plan = plan_for(model, replace(PARAMS, schedule="karras"), has_image=False)
    assert list(plan.sigmas) == karras(model.noise_schedule, 10)
    assert plan.evaluations == 10
    assert not plan.stopped
    assert plan.start_scale == pytest.approx(plan.sigmas[0], rel=1e-3)


@pytest.mark.parametrize(("stop", "evaluations"), [(10, 1), (55, 6), (60, 6), (99, 10), (100, 10)])
def test_stop_is_a_percentage_of_the_steps(stop: int, evaluations: int) -> None:
    plan = plan_for(tiny_model(), replace(PARAMS, stop=stop), has_image=False)
    assert plan.evaluations == evaluations
    assert plan.stopped == (evaluations < 10)


@pytest.mark.parametrize(("strength", "steps"), [(0.01, 1), (0.3, 3), (0.75, 7), (1.0, 10)])
def test_strength_is_the_share_of_the_steps_done_on_a_picture(strength: float, steps: int) -> None:
    params = replace(PARAMS, init_image="0" * 64, strength=strength)
    plan = plan_for(tiny_model(), params, has_image=True)
    whole = plan_for(tiny_model(), PARAMS, has_image=False)
    assert plan.evaluations == steps
    assert plan.sigmas == whole.sigmas[10 - steps :]


def test_a_size_between_latent_positions_is_refused_with_the_multiple() -> None:
    model = tiny_model()
    wide = replace(model.vae.config, patch_size=8)
    vae = AutoencoderKL(wide)
    with pytest.raises(ParamsError, match="multiples of 16"):
        plan_for(replace(model, vae=vae), replace(PARAMS, width=40), has_image=False)
