"""What a job tells, over its one or two passes."""

from dataclasses import replace

import torch

from diffusion import Params, Step
from diffusion.addons import Styles
from diffusion.job import Job
from diffusion.machine import Machine
from tests.tiny import prepared, tiny_model

PARAMS = Params(prompt="x", steps=4, width=32, height=32, images=2, guidance_scale=1.0)


def test_a_job_tells_of_its_slowest_picture() -> None:
    job = prepared(Machine(max_batch=8), tiny_model(), PARAMS)
    fast, slow = job.paintings
    for _ in range(3):
        assert fast.request is not None
        fast.answer(fast.request[0] * 0.5)
    assert job.step() is None
    assert slow.request is not None
    slow.answer(slow.request[0] * 0.5)
    step = job.step()
    assert step is not None
    assert (step.index, step.total, step.pictures) == (1, 4, None)
    assert job.step() is None, "told once"


def test_steps_of_the_first_pass_count_in_the_second() -> None:
    machine = Machine(max_batch=8)
    job = prepared(machine, tiny_model(), replace(PARAMS, hires=2.0, images=1))
    assert (job.total, len(job.passes)) == (6, 2)
    first = job.pass_of(job.paintings[0])
    assert first is job.passes[0]
    while not job.stages[0]:
        machine.tick()
    assert job.pass_of(job.paintings[0]) is job.passes[1]
    # The tick that decodes the first pass's picture has a pass of its own.
    assert (job.steps_done(0), job.next_pass(0)) == (5, None)
    assert tuple(job.paintings[0].shape) == (4, 8, 8)


def test_previews_show_pictures_of_one_size() -> None:
    """One picture may be in the second pass while the other is in the first."""
    job = prepared(Machine(max_batch=8), tiny_model(), replace(PARAMS, hires=2.0))
    for painting in job.paintings:
        assert painting.request is not None
        painting.answer(painting.request[0] * 0.5)
    job.paintings[0].denoised = torch.zeros(4, 8, 8)
    step = job.step()
    assert step is not None
    alone = prepared(
        Machine(max_batch=8), tiny_model(), replace(PARAMS, images=1, width=64, height=64)
    )
    assert alone.paintings[0].request is not None
    alone.paintings[0].answer(alone.paintings[0].request[0] * 0.5)
    wanted = alone.step()
    assert wanted is not None
    assert step.preview().size == wanted.preview().size


def test_the_end_carries_every_picture() -> None:
    machine = Machine(max_batch=8)
    job = prepared(machine, tiny_model(), PARAMS)
    assert isinstance(job, Job)
    assert job.styles.key == Styles().key
    told: list[object] = []
    while machine.busy:
        told += [answer for _, answer in machine.tick()]
    assert job.undecoded() is None
    assert isinstance(told[-1], Step)
    assert told[-1].pictures == tuple(job.pictures)
