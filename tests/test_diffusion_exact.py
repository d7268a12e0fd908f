"""Exactness: a picture is byte for byte the one that is made alone, whatever the company."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from diffusion import Engine, Model, Params, Step
from diffusion.addon_files import enumerate_files
from diffusion.bench.instant import always_full
from diffusion.bench.loras import with_loras
from diffusion.exact import Certificates, run_exactly, same_bits
from diffusion.machine import Machine
from diffusion.rows import Kind
from tests.companies import alone, audit, guest, recorded
from tests.thinning import thinned
from tests.tiny import tiny_model

# The default run looks at the first part of them.
COMPANIES, PARTS = 200, 5


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", thinned(range(PARTS), every=PARTS))
def test_random_companies_differ_in_no_byte(part: int) -> None:
    compared = 0
    share = COMPANIES // PARTS
    for number in range(part * share, (part + 1) * share):
        count, wrong = audit(number)
        assert not wrong, wrong[0]
        compared += count
    assert compared > 2 * share


class Broken(nn.Module):
    """A backbone with a mistake in it."""

    def __init__(self, inner: nn.Module, spoil: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.config = inner.config
        self.spoil = spoil

    def time_row(self, *given: float) -> Tensor:
        return self.inner.time_row(*given)  # type: ignore[no-any-return, operator]

    def context_row(self, context: Tensor) -> tuple[Tensor, ...]:
        return self.inner.context_row(context)  # type: ignore[no-any-return, operator]

    def run(
        self, x: Tensor, times: Tensor, contexts: Sequence[Tensor], *, control: None = None
    ) -> Tensor:
        return self.spoil(x, self.inner.run(x, times, contexts, control=control))  # type: ignore[operator]


def mixed(_x: Tensor, output: Tensor) -> Tensor:
    return output + 0.05 * output.sum(dim=0, keepdim=True)


def placed(_x: Tensor, output: Tensor) -> Tensor:
    return output * torch.linspace(1, 1.001, len(output))[:, None, None, None]


@pytest.mark.parametrize("spoil", [mixed, placed])
def test_a_kernel_that_looks_at_its_neighbours_is_found_out(
    spoil: Callable[[Tensor, Tensor], Tensor],
) -> None:
    broken = replace(tiny_model(), backbone=Broken(tiny_model().backbone, spoil))  # type: ignore[arg-type]
    found = [wrong for number in range(1, 10) for wrong in audit(number, lambda _: broken)[1]]
    assert found


def test_a_size_that_rounds_otherwise_is_refused_and_never_seen() -> None:
    """A kernel that only sums in another order from six rows on: certificates keep it out."""

    def large(_x: Tensor, output: Tensor) -> Tensor:
        return output * (1 + 1e-6) if len(output) > 5 else output

    model = replace(tiny_model(), backbone=Broken(tiny_model().backbone, large))  # type: ignore[arg-type]
    for number in range(1, 9):
        assert not audit(number, lambda _: model)[1]
    found = model.measured.certificates
    refused = {size for sizes in found.refused.values() for size in sizes}
    agreeing = {size for sizes in found.agreeing.values() for size in sizes}
    assert refused and min(refused) > 5
    assert agreeing and max(agreeing) <= 5


def test_sizes_are_tried_once_and_rows_are_never_alone() -> None:
    asked: list[int] = []

    def forward(numbers: list[int]) -> Tensor:
        asked.append(len(numbers))
        return torch.tensor([[float(number)] for number in numbers])

    known = Certificates()
    for rows in (1, 2, 5, 5, 7):
        output, trial = run_exactly(forward, rows, "kind", known)
        assert output.flatten().tolist() == list(range(rows))
        assert trial == (rows == 7 or (rows == 5 and len(asked) < 7))
    # One row twice; two; five whole and in parts; five; seven whole and in parts of five and two.
    assert asked == [2, 2, 5, 2, 2, 2, 5, 7, 5, 2]
    assert known.sizes("kind") == [7, 5, 2]
    assert known.sizes("another kind") == [2]


def test_bits_are_compared_not_numbers() -> None:
    nan = torch.tensor([float("nan")])
    assert same_bits(nan, nan.clone())
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.zeros(2), torch.zeros(2, 1))


def styled_model(folder: Path, ranks: Sequence[int]) -> Model:
    """The tiny model with a LoRA of each rank, called r1, r8 and so on."""
    model = tiny_model()
    for rank in ranks:
        own = folder / str(rank)
        own.mkdir()
        with_loras(model, own, 1, rank=rank)
        (own / "style0.safetensors").rename(own / f"r{rank}.safetensors")
    return replace(model, addons=replace(model.addons, loras=enumerate_files(folder)))


def paint(model: Model, jobs: Sequence[Params]) -> list[list[bytes]]:
    """Paint jobs side by side; return the pictures of each."""
    machine = Machine(max_batch=16)
    found: dict[int, list[bytes]] = {}
    numbers = {machine.add(model, params): number for number, params in enumerate(jobs)}
    while machine.busy:
        for job, answer in machine.tick():
            assert isinstance(answer, Step)
            if answer.pictures is not None:
                found[numbers[job]] = [picture.tobytes() for picture in answer.pictures]
    return [found[number] for number in range(len(jobs))]


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_loras_of_many_ranks_beside_each_other_change_no_byte(
    limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where products of more than `limit` rows round otherwise than others."""
    if limit is not None:
        real = torch.bmm
        monkeypatch.setattr(torch, "bmm", lambda a, b: real(a, b) * (1 + 1e-3 * (len(a) > limit)))
    model = always_full(styled_model(tmp_path, (1, 8, 12)))
    base = Params(prompt="a red heart", width=32, height=32, steps=3, images=1)
    tags = ["", "<lora:r1:1>", "<lora:r8:0.7>", "<lora:r12:1>", "<lora:r8:0.7><lora:r12:-1>", ""]
    jobs = [
        replace(base, prompt=f"{base.prompt} {tag}", seed=seed, images=1 + seed % 2)
        for seed, tag in enumerate([*tags, *tags[:3]])
    ]
    together = paint(model, jobs)
    assert len({pictures[0] for pictures in together}) == len(jobs)
    for params, pictures in zip(jobs, together, strict=True):
        assert paint(always_full(model), [params]) == [pictures], params.prompt
    known = model.measured.certificates
    assert known.refused or limit != 3
    # Mixed up rows would be found out by the trial of the whole pass, and painted two by two.
    assert not any(isinstance(kind, Kind) for kind in known.refused)
    assert any(isinstance(kind, Kind) for kind in known.agreeing)


async def test_companies_in_the_engines_own_thread() -> None:
    """The same through real threads, where arrivals fall wherever they fall."""
    rng = random.Random(4)  # noqa: S311 - tests
    guests = [guest(rng, tiny_model(), styled=False) for _ in range(12)]

    async def paint(number: int) -> list[bytes]:
        each = guests[number]
        inputs = each.inputs
        steps = engine.submit(
            replace(each.params, model="emoji"),
            init_image=inputs.init_image,
            mask=inputs.mask,
            share=each.share,
        )
        pictures = None
        async for step in steps:
            pictures = step.pictures
        assert pictures is not None
        return [picture.tobytes() for picture in pictures]

    async with Engine({"emoji": tiny_model()}, max_batch=8) as engine:
        found = await asyncio.gather(*(paint(number) for number in range(len(guests))))
    # The engine's thread and this one use as many cores: see `rows.Kind`.
    for each, pictures in zip(guests, found, strict=True):
        assert pictures == alone(each), each.params.to_json()


def test_a_record_is_gone_on_with_where_it_has_its_first_gap(tmp_path: Path) -> None:
    """A block that differed, or that was never made, is no ground to stand on."""
    path = tmp_path / "EXACT.txt"
    assert recorded(path) == 0
    path.write_text(
        "# a heading\n"
        "2026-11-30 companies 0-500 pictures 9 differing 0 torch 2.13.0\n"
        "2026-11-30 companies 500-750 pictures 9 differing 1 torch 2.13.0\n"
        "2026-11-30 companies 750-1000 pictures 9 differing 0 torch 2.13.0\n"
    )
    assert recorded(path) == 500
