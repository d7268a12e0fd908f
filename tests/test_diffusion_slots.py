"""Pictures run by tables: the same bits in any company, and after a restart."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion.names import SAMPLERS as NAMES
from diffusion.noise import PictureNoise
from diffusion.samplers import SAMPLERS, TableError, compile_table, trace
from diffusion.samplers.tables import CELLS, DENOISED, NOISE, REGISTERS
from diffusion.slots import Saved, Slots, combine
from tests.parity.paths import SHAPE
from tests.test_diffusion_samplers_tables import SCHEDULES, Case, answers


def test_a_sum_is_the_same_bits_in_any_company() -> None:
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(8, REGISTERS, generator=generator).double()
    registers = torch.randn(8, REGISTERS, 4, 5, 7, generator=generator)
    alone = torch.cat([combine(coefficients[i : i + 1], registers[i : i + 1]) for i in range(8)])
    for n in range(1, 9):
        assert torch.equal(combine(coefficients[:n], registers[:n]), alone[:n])
        assert torch.equal(combine(coefficients[-n:], registers[-n:]), alone[-n:])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_needed_is_not_read(bad: float) -> None:
    case = Case(sampler="euler", schedule=SCHEDULES[0], spacing="karras", steps=3)
    pool = Slots(2, SHAPE)
    noise = PictureNoise(SHAPE, seed=1)
    sick, well = (pool.admit(case.table, case.start(), noise) for _ in range(2))
    pool.pool[well, [NOISE, *CELLS]] = bad
    pool.answer([sick, well], torch.stack([torch.full(SHAPE, bad), torch.ones(SHAPE)]))
    assert not pool.latents([sick]).isfinite().any()
    assert pool.latents([well]).isfinite().all()
    pool.drop(sick)
    assert pool.admit(case.table, case.start(), noise) == sick
    assert pool.pool[sick].isfinite().all()


def painted(name: str, steps: int, seed: int) -> Case:
    return Case(sampler=name, schedule=SCHEDULES[0], spacing="karras", steps=steps, seed=seed)


def one_answer(case: Case, x: Tensor, sigma: float) -> Tensor:
    return answers([case], x[None], [sigma])[0]


def alone(case: Case) -> list[Tensor]:
    """Return every question and the result of a table that has a pool to itself."""
    pool = Slots(1, SHAPE)
    slot = pool.admit(case.table, case.start(), PictureNoise(SHAPE, seed=case.seed))
    found = []
    while (sigma := pool.sigma(slot)) is not None:
        found.append(pool.latents([slot])[0])
        pool.answer([slot], one_answer(case, found[-1], sigma)[None])
    return [*found, pool.latents([slot])[0]]


@pytest.mark.parametrize("seed", range(3))
def test_company_changes_no_bit(seed: int) -> None:
    """Pictures come, rest, are put aside and dropped as they like; each is as it is alone."""
    chance = random.Random(seed)  # noqa: S311
    queue = [painted(name, chance.randint(1, 9), seed=i) for i, name in enumerate(NAMES)]
    chance.shuffle(queue)
    want = {case: alone(case) for case in queue}
    pool, running, done = Slots(5, SHAPE), dict[int, tuple[Case, int]](), 0
    while queue or running:
        while queue and len(running) < 5 and chance.random() < 0.7:
            case = queue.pop()
            slot = pool.admit(case.table, case.start(), PictureNoise(SHAPE, seed=case.seed))
            running[slot] = case, 0
        company = chance.sample(sorted(running), chance.randint(0, len(running)))
        xs = pool.latents(company)
        for slot, x in zip(company, xs, strict=True):
            case, answered = running[slot]
            assert torch.equal(x, want[case][answered]), (case, answered)
        going = [slot for slot in company if pool.sigma(slot) is not None]
        if going:
            found = [
                one_answer(running[slot][0], pool.latents([slot])[0], pool.sigma(slot) or 0.0)
                for slot in going
            ]
            pool.answer(going, torch.stack(found))
        for slot in company:
            case, answered = running[slot]
            running[slot] = case, answered + 1
            if slot not in going or chance.random() < 0.03:
                done += slot not in going
                pool.drop(slot)
                del running[slot]
            elif chance.random() < 0.1:
                saved = pool.save(slot)
                pool.drop(slot)
                del running[slot]
                running[pool.restore(case.table, saved)] = case, answered + 1
    assert done > len(NAMES) / 2


@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_gone_on_with_after_a_restart(name: str, tmp_path: Path) -> None:
    """At 60 % the estimate is the coroutine's; saved to files and taken up again, so is the end."""
    case = painted(name, 10, seed=5)
    want = alone(case)
    pool = Slots(2, SHAPE)
    slot = pool.admit(case.table, case.start(), PictureNoise(SHAPE, seed=case.seed))
    stop = round(0.6 * len(case.table.rows))
    for k in range(stop):
        denoised = one_answer(case, want[k], pool.sigma(slot) or 0.0)
        pool.answer([slot], denoised[None])
        assert torch.equal(pool.estimates([slot])[0], denoised)
    saved = pool.save(slot)
    save_file(dict(saved.tensors), tmp_path / "state.safetensors")
    text = json.dumps(dict(saved.facts))
    del pool, saved
    again = Slots(3, SHAPE)
    again.admit(case.table, torch.zeros(SHAPE), PictureNoise(SHAPE, seed=0))
    loaded = Saved(tensors=load_file(tmp_path / "state.safetensors"), facts=json.loads(text))
    slot = again.restore(compile_table(trace(SAMPLERS[name], case.levels)), loaded)
    for x in want[stop:-1]:
        assert torch.equal(again.latents([slot])[0], x)
        again.answer([slot], one_answer(case, x, again.sigma(slot) or 0.0)[None])
    assert torch.equal(again.latents([slot])[0], want[-1])


def test_a_state_fits_its_own_table_only() -> None:
    case = painted("unipc", 5, seed=1)
    pool = Slots(2, SHAPE)
    saved = pool.save(pool.admit(case.table, case.start(), PictureNoise(SHAPE, seed=1)))
    with pytest.raises(TableError, match="another version or table"):
        pool.restore(painted("unipc", 6, seed=1).table, saved)
    for facts, message in (
        ({"version": 0}, "another version"),
        ({"seed": "1"}, "without seed"),
        ({"answered": 6}, "after 6 of 5 answers"),
    ):
        with pytest.raises(TableError, match=message):
            pool.restore(case.table, replace(saved, facts={**saved.facts, **facts}))
    with pytest.raises(TableError, match="shape"):
        Slots(1, (4, 2, 2)).restore(case.table, saved)


def test_misuse_is_refused_and_changes_nothing() -> None:
    case = painted("euler", 1, seed=1)
    pool = Slots(1, SHAPE)
    noise = PictureNoise(SHAPE, seed=1)
    with pytest.raises(ValueError, match=r"latents of \(4, 3\)"):
        pool.admit(case.table, torch.zeros(4, 3), noise)
    slot = pool.admit(case.table, case.start(), noise)
    with pytest.raises(ValueError, match="all 1 slots are taken"):
        pool.admit(case.table, case.start(), noise)
    before = pool.pool.clone()
    with pytest.raises(ValueError, match="one answer at a time"):
        pool.answer([slot, slot], torch.zeros(2, *SHAPE))
    with pytest.raises(ValueError, match="estimates of"):
        pool.answer([slot], torch.zeros(SHAPE))
    for call in (pool.drop, pool.sigma, pool.save, lambda s: pool.latents([s])):
        with pytest.raises(KeyError):
            call(slot + 1)
    pool.answer([], torch.zeros(0, *SHAPE))
    assert torch.equal(pool.pool, before)
    pool.answer([slot], torch.zeros(1, *SHAPE))
    assert pool.pool[slot, DENOISED].abs().max() == 0
    with pytest.raises(ValueError, match="finished"):
        pool.answer([slot], torch.zeros(1, *SHAPE))
