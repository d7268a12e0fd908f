"""Samplers against the papers' own coordinates, against each other, and on symbols."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from diffusion.names import SAMPLERS as NAMES
from diffusion.samplers import SAMPLERS, Form, Linear, Trace, trace
from diffusion.schedules import Levels, NoiseSchedule, levels_for, uniform_timesteps
from tests.parity.paths import COUNTS, SHAPE, Injected, Ours, draws, drive, network

DDPM = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "steps_offset": 0}
SD = NoiseSchedule()
# How often a step that does not end at 0 asks, and how often one that does.
TWO_STAGE = ("heun", "dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde")
BROWNIAN = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_all_thousand_steps_of_ddpm_are_algorithm_2(variance_type: str, clip: float | None) -> None:
    """Ho et al. 2020, Algorithm 2, in their own coordinates, with both variances."""
    schedule = NoiseSchedule.from_config({**DDPM, "variance_type": variance_type})
    noise = draws(11, 1000)
    abar = [1.0, *schedule.alphas_cumprod]
    x = noise[0]
    for t in range(1000, 0, -1):
        alpha = abar[t] / abar[t - 1]
        beta = 1 - alpha
        eps = network(x, t - 1)
        z = noise[1001 - t] if t > 1 else torch.zeros(SHAPE)
        small = beta * (1 - abar[t - 1]) / (1 - abar[t])
        variance = beta if variance_type == "fixed_large" else small
        if clip is None:
            mean = (x - beta / math.sqrt(1 - abar[t]) * eps) / math.sqrt(alpha)
        else:
            # Their equation 7, with the estimate of x0 clipped.
            x0 = ((x - math.sqrt(1 - abar[t]) * eps) / math.sqrt(abar[t])).clamp(-clip, clip)
            mean = (
                math.sqrt(abar[t - 1]) * beta * x0 + math.sqrt(alpha) * (1 - abar[t - 1]) * x
            ) / (1 - abar[t])
        x = mean + math.sqrt(variance) * z
    levels = levels_for(schedule, SAMPLERS["ddpm"], 1000, "uniform")
    ours = Ours(schedule, levels, clip=clip).run(SAMPLERS["ddpm"], noise)
    torch.testing.assert_close(ours.end, x, rtol=1e-8, atol=1e-8)


def end_of(name: str, levels: Levels, noise: list[Tensor], eta: float | None = None) -> Tensor:
    start = noise[0] * levels.sigmas[0]
    coroutine = SAMPLERS[name].start(start, levels, Injected(noise[1:]), eta=eta)
    return drive(coroutine, Ours(SD, levels).denoise)[1]


def test_ancestral_euler_and_noisy_ddim_and_ddpm_are_one() -> None:
    levels = levels_for(SD, SAMPLERS["euler_a"], 9, "karras")
    ends = [
        end_of(name, levels, draws(5, 10), eta)
        for name, eta in (("euler_a", None), ("ddpm", None), ("ddim", 1.0))
    ]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-10)


def test_without_noise_stirred_samplers_are_their_plain_ones() -> None:
    levels = levels_for(SD, SAMPLERS["euler"], 9, "karras")
    for stirred, plain in (
        ("ddim", "euler"),
        ("euler_a", "euler"),
        ("dpm2_a", "dpm2"),
        ("dpmpp_2m_sde", "dpmpp_2m"),
        ("dpmpp_sde", "dpmpp_2s_a"),
    ):
        one = end_of(stirred, levels, draws(6, 1), 0.0)
        other = end_of(plain, levels, draws(6, 1), 0.0)
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_knows_the_picture_gets_it(name: str) -> None:
    picture = draws(8, 1)[0]
    levels = levels_for(SD, SAMPLERS[name], 20, "uniform")
    noise = draws(9, 40)
    coroutine = SAMPLERS[name].start(noise[0] * 14.6, levels, Injected(noise[1:]))
    _, end = drive(coroutine, lambda _x, _sigma: picture)
    # DEIS and TCD end at the table's lowest level; LCM's last value keeps a trace of x.
    near = 0.2 if name in ("deis", "tcd", "lcm") else 1e-9
    assert float((end - picture).abs().max()) <= near


def test_convergence_is_of_the_promised_order() -> None:
    """On an ODE with a known solution, twice the steps halve Euler's error, quarter the others'.

    A Gaussian of deviation 1: D = x / (1 + sigma^2), and x(sigma) grows as sqrt(1 + sigma^2).
    """

    def error(name: str, steps: int) -> float:
        sigmas = [10 * (1 - i / steps) ** 3 + 0.1 for i in range(steps + 1)]
        levels = Levels(sigmas=tuple(sigmas), timesteps=(0.0,) * steps)
        start = torch.full((1,), math.sqrt(1 + 10.1**2), dtype=torch.float64)
        coroutine = SAMPLERS[name].start(start, levels, Injected([]), eta=0.0)
        _, end = drive(coroutine, lambda x, s: x * (1 / (1 + s**2)))
        return abs(float(end) - math.sqrt(1.01))

    assert error("euler", 100) / error("euler", 200) == pytest.approx(2, rel=0.1)
    for name in ("heun", "dpm2", "dpmpp_2m", "dpmpp_2s_a", "unipc", "deis", "lms", "dpmpp_3m_sde"):
        assert error(name, 100) / error(name, 200) > 3.3, name


def value(form: Form, known: dict[str, list[Tensor]]) -> Tensor:
    total = torch.zeros(SHAPE, dtype=torch.float64)
    for (kind, i), weight in form.terms.items():
        total = total + known[kind][i] * weight
    return total


def tables(levels: Levels, name: str) -> tuple[Trace, dict[str, list[Tensor]]]:
    table = trace(SAMPLERS[name], levels)
    count = len(table.questions)
    return table, {
        "x": draws(3, 1),
        "denoised": draws(1, count),
        "noise": draws(2, max(1, len(table.draws))),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", COUNTS)
def test_the_table_of_coefficients_is_the_coroutine(name: str, steps: int) -> None:
    levels = levels_for(SD, SAMPLERS[name], steps, "uniform")
    table, known = tables(levels, name)
    answers, noise = iter(known["denoised"]), Injected(known["noise"])
    asked, end = drive(
        SAMPLERS[name].start(known["x"][0], levels, noise), lambda _x, _sigma: next(answers)
    )
    assert [q.sigma for q in table.questions] == [sigma for _, sigma in asked]
    forms = [*(q.x for q in table.questions), table.result]
    for form, x in zip(forms, [*(x for x, _ in asked), end], strict=True):
        torch.testing.assert_close(value(form, known), x, rtol=2e-6, atol=2e-6)
    assert [one for one in table.draws if one is not None] == noise.intervals


@pytest.mark.parametrize("name", NAMES)
def test_how_often_a_sampler_asks_and_draws(name: str) -> None:
    sampler = SAMPLERS[name]
    levels = levels_for(SD, sampler, 9, "uniform")
    table = trace(sampler, levels)
    extra = 8 if name in TWO_STAGE else int(name == "plms")
    assert sampler.evaluations(levels) == len(table.questions) == 9 + extra
    assert sampler.asked(levels) == tuple(q.sigma for q in table.questions)
    draws_made = 16 if name == "dpmpp_sde" else 8
    assert len(table.draws) == (draws_made if sampler.needs_noise else 0)
    assert all((one is not None) == (name in BROWNIAN) for one in table.draws)
    assert sampler.name == name


def test_inner_points_are_never_levels_of_the_run() -> None:
    levels = levels_for(SD, SAMPLERS["dpm2_a"], 12, "karras")
    for name in ("dpm2_a", "dpmpp_2s_a", "dpm2", "dpmpp_sde"):
        asked = SAMPLERS[name].asked(levels)
        assert sum(levels.timestep(sigma) is not None for sigma in asked) == 12
        assert SD.timestep(asked[1]) == pytest.approx(SD.timestep(math.sqrt(asked[1] ** 2)))


def test_few_steps_to_a_level_above_zero_end_plainly() -> None:
    """The rule speaks of the steps planned, however many of them run."""
    schedule = NoiseSchedule(final_sigmas_type="sigma_min")
    for name in ("dpmpp_2m", "deis", "dpmpp_2m_sde"):
        for steps, plain in ((14, True), (15, False)):
            levels = levels_for(schedule, SAMPLERS[name], steps, "uniform").end(5)
            terms = trace(SAMPLERS[name], levels)
            before = value_of_last_step(terms, "denoised", 3)
            assert (abs(before) < 1e-12) == plain, (name, steps)


def value_of_last_step(table: Trace, kind: str, i: int) -> float:
    """Return what the result takes from a term beyond what the last x had of it."""
    last, end = table.questions[-1].x.terms, table.result.terms
    ratio = end[("x", 0)] / last[("x", 0)]
    return end.get((kind, i), 0.0) - ratio * last.get((kind, i), 0.0)


def test_every_name_has_a_sampler_and_the_table_is_closed() -> None:
    assert tuple(SAMPLERS) == NAMES
    with pytest.raises(TypeError):
        SAMPLERS["euler"] = SAMPLERS["ddim"]  # type: ignore[index]


def test_a_sampler_can_be_left_at_any_time() -> None:
    levels = Levels(sigmas=(3.0, 2.0, 1.0, 0.0), timesteps=(2.0, 1.0, 0.0))
    coroutine = SAMPLERS["euler_a"].start(draws(2, 1)[0], levels, Injected(draws(1, 9)))
    x, _ = next(coroutine)
    coroutine.send(x)
    coroutine.close()
    with pytest.raises(StopIteration):
        next(coroutine)


def test_whole_samplers_ask_at_whole_timesteps() -> None:
    schedule = NoiseSchedule(timestep_spacing="linspace")
    for name in ("ddpm", "ddim", "plms"):
        levels = levels_for(schedule, SAMPLERS[name], 7, "uniform")
        assert list(levels.timesteps) == uniform_timesteps(schedule, 7, multistep=False, whole=True)


def levels_of(sigmas: Sequence[float]) -> Linear:
    """Tensors satisfy what samplers ask of latents (a check for the type checker)."""
    return torch.tensor(sigmas)
