"""Who shares a forward pass, and that nobody notices."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion import Control, Params, Step
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.painting import Painting
from diffusion.rows import denoise, kind_of
from tests.parity.pipelines import model
from tests.tiny import prepared, tiny_model

PARAMS = Params(prompt="a fox", steps=2, width=64, height=64, images=1, guidance_scale=3.0)
HINT = Image.fromarray(np.random.default_rng(2).integers(0, 255, (64, 64, 3), dtype=np.uint8))
LONG = "a fox " * 60


def control(**change: Any) -> tuple[Control, ...]:  # noqa: ANN401
    return (Control(**{"model": "edges", "image": "0" * 64, **change}),)


def add(machine: Machine, params: Params, own: Model | None = None) -> Job:
    inputs = Inputs(hints=(HINT,) * len(params.controls))
    return prepared(machine, own or model("sd1", "folder"), params, inputs)


def by_coroutine(job: Job) -> Painting:
    painting = job.paintings[0]
    assert isinstance(painting, Painting)
    return painting


def kinds(first: Params, second: Params) -> tuple[object, object]:
    machine = Machine(max_batch=8)
    one, other = add(machine, first), add(machine, second)
    return kind_of(one, one.paintings[0]), kind_of(other, other.paintings[0])


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": LONG},
        {"width": 128},
        {"tile": True},
        {"controls": control()},
    ],
)
def test_what_the_network_or_its_input_differs_in_is_never_shared(change: dict[str, Any]) -> None:
    one, other = kinds(PARAMS, replace(PARAMS, **change))
    assert one != other
    same, too = kinds(replace(PARAMS, **change), replace(PARAMS, **change, seed=9))
    assert same == too


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"controls": control()}, {"controls": control(model="depth")}),
        ({"controls": control()}, {"controls": control(guess=True)}),
        ({"controls": control()}, {"controls": control(start=0.5)}),
    ],
)
def test_other_controls_are_other_kinds(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = kinds(replace(PARAMS, **one), replace(PARAMS, **other))
    assert first != second


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a hat", "negative_prompt": "blurred"},
        {"prompt": "a fox <lora:ink:1>"},
        {"prompt": "a fox <lora:ink:0.5><lora:clay:1>"},
        {"guidance_scale": 9.0},
        {"sampler": "euler_a", "steps": 7, "schedule": "karras"},
        {"guidance_scale": 1.0},
    ],
)
def test_what_only_concerns_a_row_is_shared(change: dict[str, Any]) -> None:
    one, other = kinds(PARAMS, replace(PARAMS, **change))
    assert one == other


def test_models_never_meet() -> None:
    machine = Machine(max_batch=8)
    plain = add(machine, PARAMS)
    distilled = add(machine, PARAMS, model("sd1-lcm", "folder"))
    assert kind_of(plain, plain.paintings[0]) != kind_of(distilled, distilled.paintings[0])


def run(jobs: list[tuple[Model, Params]], passes: list[int]) -> list[np.ndarray[Any, Any]]:
    """Paint jobs side by side; return each one's picture, and count what shared each pass."""
    machine = Machine(max_batch=16)
    added = [add(machine, params, own) for own, params in jobs]
    found: dict[int, np.ndarray[Any, Any]] = {}
    while machine.busy:
        passes.append(len(machine._gather()))
        for job, answer in machine.tick():
            assert isinstance(answer, Step)
            if answer.pictures is not None:
                found[id(job)] = np.asarray(answer.pictures[0], dtype=np.int16)
    return [found[id(job)] for job in added]


def test_a_picture_is_the_same_alone_and_beside_others() -> None:
    plain, distilled = model("sd1", "folder"), model("sd1-lcm", "folder")
    jobs = [
        (plain, PARAMS),
        (plain, replace(PARAMS, seed=1, prompt="a fox <lora:ink:1>")),
        (plain, replace(PARAMS, seed=2, prompt="a hat <lora:clay:0.7>")),
        (plain, replace(PARAMS, seed=3, prompt="a hat <lora:ink:1>", guidance_scale=8.0)),
        (plain, replace(PARAMS, seed=4, prompt=LONG)),
        (plain, replace(PARAMS, seed=5, controls=control())),
        (plain, replace(PARAMS, seed=6, prompt="a hat AND a fox", sampler="euler_a")),
        (distilled, replace(PARAMS, seed=7)),
        (distilled, replace(PARAMS, seed=8, guidance_scale=6.0)),
    ]
    passes: list[int] = []
    together = run(jobs, passes)
    assert max(passes) > 1
    for job, picture in zip(jobs, together, strict=True):
        assert np.abs(picture - run([job], [])[0]).max() <= 1
    assert np.abs(together[7] - together[8]).max() > 1


def test_a_lora_changes_the_network_for_its_own_rows() -> None:
    own = model("sd1", "folder")
    # Weight 0 in the text encoder: what differs is the network.
    styled = replace(PARAMS, prompt="a fox<lora:ink:1:0>")
    plain, changed, after = (run([(own, p)], [])[0] for p in (PARAMS, styled, PARAMS))
    assert np.abs(changed - plain).max() > 5
    assert np.array_equal(after, plain)


def test_every_row_gets_its_own_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    own, seen = model("sd1-lcm", "folder"), []
    time_row = own.backbone.time_row

    def watched(timestep: float, added: Any, guidance: float) -> Any:  # noqa: ANN401
        seen.append(guidance)
        return time_row(timestep, added, guidance)

    monkeypatch.setattr(own.backbone, "time_row", watched)
    machine = Machine(max_batch=8)
    jobs = [add(machine, replace(PARAMS, guidance_scale=w), own) for w in (3.25, 8.5)]
    denoise(own, [(job, by_coroutine(job)) for job in jobs])
    assert seen == [2.25, 7.5]


def test_guessing_leaves_the_negative_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own, seen = model("sd1", "folder"), []
    run = own.backbone.run

    def watched(*given: Any, **more: Any) -> Any:  # noqa: ANN401
        seen.append([residual.abs().amax(dim=(1, 2, 3)) for residual in more["control"]])
        return run(*given, **more)

    monkeypatch.setattr(own.backbone, "run", watched)
    machine = Machine(max_batch=8)
    job = add(machine, replace(PARAMS, controls=control(guess=True)))
    denoise(own, [(job, by_coroutine(job))])
    assert all(float(positive) > 0 == float(negative) for positive, negative in seen[0])


def test_a_control_steers_only_its_share_of_the_steps() -> None:
    machine = Machine(max_batch=8)
    job = add(machine, replace(PARAMS, steps=4, controls=control(start=0.25, end=0.75)))
    hint = job.passes[0].hints[0]
    assert [hint.works_at(step, 4) for step in range(4)] == [False, True, True, False]


def test_the_tiny_model_shares_whole_jobs() -> None:
    machine = Machine(max_batch=16, deterministic="fast")
    params = replace(PARAMS, width=32, height=32, images=4)
    own = replace(tiny_model())
    jobs = [prepared(machine, own, replace(params, seed=seed)) for seed in (1, 2)]
    kind = kind_of(jobs[0], jobs[0].paintings[0])
    for rows in (2, 4, 8, 16):
        for _ in range(2):
            # Every doubling has paid so far.
            own.measured.pace.note(kind, rows, 1.0)
    assert len(machine._gather()[0]) == 8
