"""Samplers as tables, through the row machine: what the coroutines paint, in any company, with no
slot lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from diffusion import Engine, Params
from diffusion.denoiser import clip, input_scale, to_denoised
from diffusion.inputs import Inputs
from diffusion.machine import Machine, Tail
from diffusion.model import Model
from diffusion.names import SAMPLERS
from diffusion.noise import PictureNoise
from diffusion.painting import Painting
from diffusion.samplers import Sampling
from diffusion.slot_painting import SlotPainting
from tests.companies import audit
from tests.parity.paths import TOLERANCE
from tests.tiny import prepared, tiny_model
from tests.toy import Kind, Toy, toy_model
from tests.toy_runs import (
    FROM_PICTURE,
    MASKED,
    PARAMS,
    PICTURE,
    REPAINTED,
    TAILS,
    difference,
    latents,
    paint,
)


@dataclass
class Wide:
    """A picture's noise in float64."""

    noise: PictureNoise

    def __call__(self) -> Tensor:
        return self.noise().double()

    def between(self, sigma: float, sigma_next: float, /) -> Tensor:
        return self.noise.between(sigma, sigma_next).double()


def exact(model: Model, params: Params, inputs: Inputs | None) -> Tensor:
    """Paint one picture by its coroutine, everything but its noise in float64."""
    job = prepared(Machine(max_batch=2, tail="coroutines"), model, params, inputs)
    painting = job.paintings[0]
    assert isinstance(painting, Painting) and painting.request is not None
    plan, schedule, network = painting.plan, model.noise_schedule, cast(Toy, model.backbone)
    noise = PictureNoise(tuple(painting.shape), seed=params.seed)
    for _ in range(1 + (inputs is not None)):
        noise()  # The picture it starts from, and its start, are drawn already.
    kept = painting.kept
    start = painting.request[0].double()
    coroutine = cast(
        Sampling[Tensor], plan.sampler.start(start, plan.levels, Wide(noise), eta=plan.eta)
    )
    x, sigma = next(coroutine)
    evaluation = 0
    while True:
        if kept is not None and evaluation:
            x = kept.at(x, sigma)
        conditions = painting.guide.at(plan.step(evaluation))
        contexts = torch.stack([network.context_row(c.context)[0] for c in conditions])  # type: ignore[arg-type]
        times = torch.tensor([[plan.timestep(sigma), 0.0]]).expand(len(conditions), 2)
        rows = (x * input_scale(sigma))[None].expand(len(conditions), *x.shape)
        combined = painting.guide.combine(network.run(rows, times, [contexts]))
        denoised = clip(
            to_denoised(schedule.prediction_type, x, combined, sigma), schedule.clip_range
        )
        evaluation += 1
        try:
            x, sigma = coroutine.send(denoised)
        except StopIteration as end:
            x = cast(Tensor, end.value) * plan.end_scale
            return x if kept is None else kept.at(x, 0.0)


def problems(model: Model, many: Sequence[Params], inputs: Inputs | None = None) -> list[str]:
    """Say which jobs the tables paint otherwise than the coroutines: further than 2e-6 of the
    largest value, and further than that, or twice what the coroutine is, from float64.
    """
    ours, theirs = (latents(model, many, tail, inputs) for tail in TAILS)
    found = []
    for params, own, other in zip(many, ours, theirs, strict=True):
        if difference(own, other) <= TOLERANCE:
            continue
        truth = exact(model, params, inputs)
        off, reference = difference(own, truth), difference(other, truth)
        if not off <= max(TOLERANCE, 2 * reference):
            found.append(f"{params.to_json()}: off by {off:.1e}, the coroutine by {reference:.1e}")
    return found


@pytest.mark.parametrize("steps", [1, 3, 6])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_sampler_paints_what_its_coroutine_paints(prediction: str, steps: int) -> None:
    many = [replace(PARAMS, sampler=name, steps=steps) for name in SAMPLERS]
    assert problems(toy_model(Kind(prediction=prediction)), many) == []


@pytest.mark.parametrize(
    ("change", "inputs"),
    [
        ({"guidance_scale": 1.0}, None),
        ({"prompt": "a heart AND a fish"}, None),
        ({"prompt": "a heart::2 a fish::1"}, None),
        ({"prompt": "a heart::2 a fish::1", "guidance_scale": 1.0}, None),
        ({"prompt": "a [red:blue:0.5] heart"}, None),
        ({"guidance_rescale": 0.7}, None),
        ({"eta": 0.6}, None),
        ({"schedule": "karras"}, None),
        ({"variation_seed": 5, "variation_strength": 0.4}, None),
        ({**FROM_PICTURE, "strength": 0.5}, PICTURE),
        ({**REPAINTED, "strength": 0.5}, MASKED),
        ({**REPAINTED, "strength": 1.0}, MASKED),
    ],
)
def test_every_kind_of_job(change: Mapping[str, Any], inputs: Inputs | None) -> None:
    samplers = ("euler_a", "heun", "dpmpp_2m_sde", "plms", "ddpm", "tcd")
    many = [replace(PARAMS, sampler=name, **change) for name in samplers]
    assert problems(toy_model(), many, inputs) == []


def test_clipped_estimates() -> None:
    many = [replace(PARAMS, sampler=name) for name in ("ddpm", "ddim", "euler")]
    model = toy_model(Kind(clips=True))
    assert problems(model, many) == []
    assert not torch.equal(*(latents(m, many[:1], "tables")[0] for m in (model, toy_model())))


@pytest.mark.parametrize(
    ("change", "inputs"),
    [
        ({"hires": 1.5, "steps": 3}, None),
        ({"stop": 50}, None),
        ({**REPAINTED, "stop": 50, "strength": 0.8}, MASKED),
        ({**FROM_PICTURE, "hires": 2.0}, PICTURE),
    ],
)
def test_second_passes_and_early_ends(change: Mapping[str, Any], inputs: Inputs | None) -> None:
    many = [
        replace(PARAMS, sampler=name, images=2, **change) for name in ("euler_a", "heun", "unipc")
    ]
    ours, theirs = (latents(toy_model(), many, tail, inputs) for tail in TAILS)
    # A second pass starts from a picture that was cut to 8 bits: one level may differ there.
    tolerance = 2e-2 if "hires" in change else TOLERANCE
    for own, other in zip(ours, theirs, strict=True):
        assert difference(own, other) <= tolerance


@pytest.mark.parametrize(
    ("change", "inputs"), [({}, None), ({**REPAINTED, "strength": 0.7}, MASKED)]
)
def test_an_inpainting_network_sees_its_channels(
    change: Mapping[str, Any], inputs: Inputs | None
) -> None:
    model = toy_model(Kind(channels=9))
    many = [replace(PARAMS, seed=seed, **change) for seed in (1, 2)]
    ours, theirs = (latents(model, many, tail, inputs) for tail in TAILS)
    plain = latents(toy_model(), many, "tables", inputs)
    for own, other, without in zip(ours, theirs, plain, strict=True):
        assert difference(own, other) <= TOLERANCE
        assert difference(own, without) > 1e-3


def test_what_is_kept_comes_back_exactly_and_previews_show_it() -> None:
    machine = Machine(max_batch=8, tail="tables")
    job = prepared(machine, toy_model(), replace(PARAMS, **REPAINTED, strength=0.5), MASKED)
    painting = job.paintings[0]
    assert isinstance(painting, SlotPainting) and painting.kept is not None
    old = painting.kept.latents
    machine.tick()
    assert painting.denoised is not None and painting.request is not None
    seen, sigma = painting.request
    kept = painting.kept.mask[0] == 0
    assert torch.equal(painting.denoised[:, kept], old[:, kept])
    assert torch.equal(seen[:, kept], (old + painting.kept.noise * sigma)[:, kept])
    paint(machine)
    assert painting.finished is not None
    assert torch.equal(painting.finished[:, kept], old[:, kept])


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m_sde", "unipc", "euler_a"])
@pytest.mark.parametrize("first", TAILS)
def test_a_state_goes_on_under_either(sampler: str, first: Tail) -> None:
    """What stopped under one goes on under the other; under its own, to the last bit."""
    whole = replace(PARAMS, sampler=sampler, images=2, steps=5)
    model = toy_model()
    machine = Machine(max_batch=8, tail=first)
    machine.add(model, replace(whole, stop=60))
    state = paint(machine)[-1][1].state
    assert state is not None
    expected = latents(model, [whole], first)
    for tail in TAILS:
        again = Machine(max_batch=8, tail=tail)
        job = again.add(model, whole, state=state)
        told = paint(again)
        assert [step.index for _, step in told] == [4, 5]
        for painting, end in zip(job.paintings, expected, strict=True):
            assert painting.finished is not None
            assert difference(painting.finished, end) <= TOLERANCE
            assert tail != first or torch.equal(painting.finished, end)


@pytest.mark.parametrize("part", range(4))
def test_random_companies_differ_in_no_byte(part: int) -> None:
    model, compared = toy_model(), 0
    for number in range(11 * part + 1, 11 * part + 11):
        if number % 10 == 0:
            continue  # A company of LoRAs and ControlNets: see below.
        # Every twentieth with a real network; the others' differences come from the tail alone.
        own = tiny_model() if number % 20 == 1 else model
        count, wrong = audit(number, lambda _, own=own: own, "tables")  # type: ignore[misc]
        assert not wrong, wrong[0]
        compared += count
    assert compared > 15


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 12},
        {"steps": 12, **FROM_PICTURE},
        {"steps": 12, "hires": 1.5},
    ],
)
def test_slots_are_given_back_whenever_a_job_leaves(change: Mapping[str, Any]) -> None:
    inputs = PICTURE if "init_image" in change else None
    model = toy_model()
    machine = Machine(max_batch=8, tail="tables")
    for ticks in range(0, 40, 3):
        job = machine.add(model, replace(PARAMS, images=3, **change), inputs)
        for _ in range(ticks):
            machine.tick()
        machine.remove(job)
        assert machine.pools.taken == machine.pools.bytes == 0, ticks


def test_a_job_that_is_dropped_while_it_hears_its_old_answers_leaves_nothing() -> None:
    model = toy_model()
    machine = Machine(max_batch=8, tail="tables")
    machine.add(model, replace(PARAMS, images=3, stop=50))
    state = paint(machine)[-1][1].state
    job = machine.add(model, replace(PARAMS, images=3), state=state)
    assert job.work is not None
    with torch.inference_mode():
        while machine.pools.taken < 3:
            next(job.work)
    machine.remove(job)
    assert machine.pools.taken == 0


def test_a_kept_picture_frees_the_others_slots_for_new_ones() -> None:
    model = toy_model()
    machine = Machine(max_batch=32, tail="tables")
    job = prepared(machine, model, replace(PARAMS, images=8))
    machine.tick()
    size = machine.pools.bytes
    assert machine.pools.taken == 8
    job.keep([5])
    assert machine.pools.taken == 1
    prepared(machine, model, replace(PARAMS, images=7))
    assert (machine.pools.taken, machine.pools.bytes) == (8, size)
    prepared(machine, model, PARAMS)
    assert (machine.pools.taken, machine.pools.bytes) == (9, 2 * size)
    ended = [step for _, step in paint(machine) if step.pictures is not None]
    assert sorted(len(step.images) for step in ended) == [1, 1, 7]
    end = job.paintings[5].finished
    assert end is not None
    assert torch.equal(end, latents(model, [replace(PARAMS, images=8)], "tables")[5])


def test_a_company_of_loras_and_controlnets() -> None:
    count, wrong = audit(10, tail="tables")
    assert (bool(count), wrong) == (True, [])


def test_tables_are_for_cuda_unless_somebody_says_otherwise() -> None:
    there = replace(toy_model(), device=torch.device("cuda"))
    assert Machine(max_batch=8)._tail_of(toy_model()) == "coroutines"
    assert Machine(max_batch=8)._tail_of(there) == "tables"
    assert Machine(max_batch=8, tail="coroutines")._tail_of(there) == "coroutines"


async def test_an_engine_with_tables() -> None:
    params = replace(PARAMS, images=2, sampler="euler_a")
    async with Engine({"emoji": toy_model()}, tail="tables") as engine:
        *_, step = [step async for step in engine.submit(params)]
        cancelled = engine.submit(replace(params, steps=50))
        await anext(cancelled)
        await cancelled.aclose()
        *_, again = [step async for step in engine.submit(params)]
        (lane,) = engine._lanes.values()
        assert lane.machine.pools.taken == 0
    assert step.pictures is not None and again.pictures is not None
    assert [p.tobytes() for p in step.pictures] == [p.tobytes() for p in again.pictures]
    assert step.preview().size[0] > 0


def test_misuse_is_refused() -> None:
    machine = Machine(max_batch=8, tail="tables")
    painting = prepared(machine, toy_model(), PARAMS).paintings[0]
    assert isinstance(painting, SlotPainting)
    painting.close()
    painting.close()
    assert painting.request is None and not painting.waits
    for call in (lambda: painting.sigma, lambda: painting.place, painting.timestep):
        with pytest.raises(RuntimeError, match="waits for nothing"):
            call()
    other = prepared(Machine(max_batch=8), toy_model(), PARAMS).paintings[0]
    assert isinstance(other, Painting)
    other.close()
    with pytest.raises(RuntimeError, match="at the first question"):
        machine.pools.start(other, PictureNoise((4, 4, 4), seed=1), torch.device("cpu"))
