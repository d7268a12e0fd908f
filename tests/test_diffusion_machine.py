"""The row machine by itself: jobs come, share, leave."""

from dataclasses import replace

import pytest

from diffusion import Params
from diffusion.machine import Machine
from diffusion.pace import Pace
from diffusion.step import Step
from tests.tiny import prepared, tiny_model

PARAMS = Params(prompt="a red heart", steps=3, width=32, height=32, images=2)


def test_an_empty_machine_has_nothing_to_do() -> None:
    machine = Machine(max_batch=8)
    assert not machine.busy
    assert machine.tick() == []
    assert machine.seconds_per_tick is None


def test_every_job_gets_every_step_once_and_leaves() -> None:
    machine = Machine(max_batch=4)
    jobs = [machine.add(tiny_model(), replace(PARAMS, seed=seed)) for seed in range(3)]
    told: dict[int, list[int]] = {id(job): [] for job in jobs}
    while machine.busy:
        for job, answer in machine.tick():
            assert isinstance(answer, Step)
            told[id(job)].append(answer.index)
    assert all(steps == [1, 2, 3] for steps in told.values())
    assert machine.seconds_per_tick is not None


def test_a_removed_job_is_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # How many rows a pass may have is learnt from earlier ones, whichever test ran them.
    monkeypatch.setattr(Pace, "cap", lambda _self, _kind, most: most)
    machine = Machine(max_batch=8)
    first, second = (prepared(machine, tiny_model(), PARAMS) for _ in range(2))
    machine.tick()
    machine.remove(first)
    machine.remove(first)
    left = {id(job) for job, _ in machine.tick()}
    assert left == {id(second)}
    assert all(painting.request is None for painting in first.paintings)


def test_prompts_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, model = Machine(max_batch=8), tiny_model()
    calls: list[tuple[str, ...]] = []
    assert model.text is not None
    encode = model.text.encode

    def counted(prompts: tuple[str, ...], clip_skip: int = 0) -> object:
        calls.append(tuple(prompts))
        return encode(prompts, clip_skip)

    monkeypatch.setattr(model.text, "encode", counted)
    for seed in range(3):
        prepared(machine, model, replace(PARAMS, seed=seed))
    prepared(machine, model, replace(PARAMS, guidance_scale=1.0))
    assert calls == [("a red heart", ""), ("a red heart",)]
