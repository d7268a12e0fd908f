"""Samplers against k-diffusion's own functions: every point, the end, the noise it asks for.

Only its `sampling.py` is loaded, with stand-ins for what that file imports and these functions
never call; without the package (or scipy) these tests are skipped.
"""

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from diffusion.denoiser import input_scale, to_denoised
from diffusion.samplers import SAMPLERS
from diffusion.schedules import Levels, NoiseSchedule, levels_for
from tests.parity.paths import COUNTS, Injected, difference, draws, drive, network

pytestmark = pytest.mark.skipif(
    find_spec("k_diffusion") is None or find_spec("scipy") is None,
    reason="k-diffusion is not installed",
)

FUNCTIONS = {
    "euler": "sample_euler",
    "euler_a": "sample_euler_ancestral",
    "heun": "sample_heun",
    "lms": "sample_lms",
    "dpm2": "sample_dpm_2",
    "dpm2_a": "sample_dpm_2_ancestral",
    "dpmpp_2s_a": "sample_dpmpp_2s_ancestral",
    "dpmpp_2m": "sample_dpmpp_2m",
    "dpmpp_sde": "sample_dpmpp_sde",
    "dpmpp_2m_sde": "sample_dpmpp_2m_sde",
    "dpmpp_3m_sde": "sample_dpmpp_3m_sde",
}
STIRRED = tuple(name for name in FUNCTIONS if SAMPLERS[name].stirred is not None)
TOLERANCE = 2e-6


@cache
def sampling() -> ModuleType:
    spec = find_spec("k_diffusion")
    if spec is None or spec.origin is None:
        raise ImportError("k_diffusion")
    place = Path(spec.origin).parent
    stand_ins = {name: ModuleType(name) for name in ("torchdiffeq", "torchsde", "k_diffusion")}
    stand_ins["torchdiffeq"].__dict__["odeint"] = None
    stand_ins["k_diffusion"].__path__ = [str(place)]
    utils = ModuleType("k_diffusion.utils")
    utils.__dict__["append_dims"] = lambda x, count: x.reshape(-1, *[1] * (count - 1))
    stand_ins["k_diffusion"].__dict__["utils"] = utils
    own = spec_from_file_location("k_diffusion.sampling", place / "sampling.py")
    if own is None or own.loader is None:
        raise ImportError("k_diffusion.sampling")
    module = module_from_spec(own)
    # What it imports besides stays imported; only the stand-ins go.
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        own.loader.exec_module(module)
    finally:
        for name, known in before.items():
            del sys.modules[name]
            if known is not None:
                sys.modules[name] = known
    return module


class Model:
    """The toy network as k-diffusion calls it: the denoised estimate of x at sigma."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self.schedule = schedule
        self.asked: list[tuple[Tensor, float]] = []

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma[0])
        self.asked.append((x[0].clone(), level))
        return self.denoise(x[0], level)[None]

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        output = network(x * input_scale(sigma), self.schedule.timestep(sigma))
        return to_denoised(self.schedule.prediction_type, x, output, sigma)


def compare(name: str, schedule: NoiseSchedule, levels: Levels, **more: float) -> float:
    steps, sampler = levels.steps, SAMPLERS[name]
    noise = draws(steps, 2 * steps + 2)
    start = noise[0] * levels.sigmas[0]
    model, ours = Model(schedule), Injected(noise[1:])
    theirs, intervals = iter(noise[1:]), list[tuple[float, float]]()

    def draw(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        intervals.append((float(sigma), float(sigma_next)))
        return next(theirs)[None]

    arguments = {**more, "noise_sampler": draw} if sampler.needs_noise else {**more}
    sigmas = torch.tensor(levels.sigmas, dtype=torch.float64)
    function = getattr(sampling(), FUNCTIONS[name])
    end = function(model, start[None], sigmas, disable=True, **arguments)[0]
    asked, mine = drive(sampler.start(start, levels, ours, **more), model.denoise)
    assert [sigma for _, sigma in asked] == pytest.approx([s for _, s in model.asked], rel=1e-9)
    if ours.intervals:
        assert [b for a in ours.intervals for b in a] == pytest.approx(
            [b for a in intervals for b in a], rel=1e-9
        )
    errors = [difference(a, b) for (a, _), (b, _) in zip(asked, model.asked, strict=True)]
    return max(*errors, difference(mine, end))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("spacing", "prediction_type"),
    [
        ("karras", "epsilon"),
        ("uniform", "v_prediction"),
        pytest.param("exponential", "sample", marks=pytest.mark.slow),
        pytest.param("sgm_uniform", "epsilon", marks=pytest.mark.slow),
        pytest.param("ays", "epsilon", marks=pytest.mark.slow),
    ],
)
def test_every_point_of_the_path_is_that_of_k_diffusion(
    name: str, spacing: str, prediction_type: str
) -> None:
    schedule = NoiseSchedule(prediction_type=prediction_type)
    # With one step, two of its functions fail on a name they never set.
    for steps in COUNTS[1:] if name in ("dpmpp_2m_sde", "dpmpp_3m_sde") else COUNTS:
        levels = levels_for(schedule, SAMPLERS[name], steps, spacing)
        assert compare(name, schedule, levels) <= TOLERANCE, steps


@pytest.mark.parametrize("name", STIRRED)
@pytest.mark.parametrize("eta", [0.0, 0.4])
def test_other_amounts_of_noise(name: str, eta: float) -> None:
    schedule = NoiseSchedule()
    for steps in (2, 5, 20):
        levels = levels_for(schedule, SAMPLERS[name], steps, "karras")
        assert compare(name, schedule, levels, eta=eta) <= TOLERANCE, steps
