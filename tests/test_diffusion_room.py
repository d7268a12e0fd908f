"""What the row machine asks about memory, and what it does with the answers."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from diffusion import Engine, Model, OutOfMemoryError, Params, Step
from diffusion.adapters.batched import Stacks
from diffusion.kernels.graphs import graphs_for
from diffusion.ledger import Ledger, weight_bytes
from diffusion.loading import load_model
from diffusion.machine import Machine
from diffusion.pace import Pace
from diffusion.residency import CudaMover, Residency
from diffusion.room import Room
from diffusion.rows import Kind
from tests.test_diffusion_ledger import kind
from tests.test_diffusion_residency import Copier, model
from tests.tiny import tiny_folder, tiny_model

CPU = torch.device("cpu")
PARAMS = Params(prompt="a red heart", model="emoji", steps=3, width=32, height=32, images=4)


def own_model() -> Model:
    """A model of the test's own: what other tests leave beside shared weights takes room."""
    return load_model(tiny_folder())


def cpu_books(budget: int) -> Residency:
    return Residency(Ledger(CPU, budget=budget), mover=None)


def run(machine: Machine) -> list[bytes]:
    """Paint what was added; return the pictures of the job that ends last."""
    found: list[bytes] = []
    while machine.busy:
        for _, answer in machine.tick():
            assert isinstance(answer, Step), answer
            found = [picture.tobytes() for picture in answer.pictures or ()] or found
    return found


def sizes_of(machine: Machine) -> list[tuple[Kind, int]]:
    """Paint, and return the kind and the number of the rows of each pass that was no trial."""
    sizes: list[tuple[Kind, int]] = []
    note = Pace.note

    def noted(pace: Pace, which: Kind, rows: int, seconds: float) -> None:
        sizes.append((which, rows))
        note(pace, which, rows, seconds)

    with (
        patch.object(Pace, "note", noted),
        patch.object(Pace, "cap", lambda _pace, _kind, most: most),
    ):
        run(machine)
    return sizes


def test_plenty_of_memory_changes_nothing() -> None:
    one, plenty = own_model(), Room(on_leave=lambda _: None)
    plenty.admit(one, PARAMS)
    assert plenty.cap(one, kind(), 16) == 16
    plenty.take_turns([])
    machine = Machine(max_batch=16)
    job = machine.add(one, PARAMS)
    assert plenty.may_lead(job)
    assert {rows for _, rows in sizes_of(machine)} == {8}


def test_batches_are_no_larger_than_the_room_and_pictures_are_the_same() -> None:
    one = own_model()
    free = Machine(max_batch=8)
    free.add(one, PARAMS)
    sizes = sizes_of(free)
    found = sizes[0][0]
    free.add(one, PARAMS)
    expected = run(free)
    room = Ledger(CPU, budget=0).pass_need(one, found, 4) + one.hoisted.bytes
    books = cpu_books(1 << 40)
    machine = Machine(max_batch=8, residency=books)
    machine.add(one, PARAMS)
    books.ledger.budget = room
    assert {rows for _, rows in sizes} == {8}
    assert {rows for _, rows in sizes_of(machine)} == {4}
    books.ledger.budget = 1 << 40
    machine.add(one, PARAMS)
    books.ledger.budget = room
    assert run(machine) == expected


def test_what_stays_beside_the_weights_takes_room() -> None:
    one, books = own_model(), cpu_books(1 << 30)
    room = Room(books, on_leave=lambda _: None)
    one.hoisted.rows("key", lambda: (torch.zeros(1000),))
    one.addons.bytes = 50
    room.note_slots(one, 30)
    with patch.object(Stacks, "bytes", 600):
        room.note_kept(one, graphs=7)
    assert books.ledger.held == 4000 + 600 + 7 + 30, "add-ons on a CPU are mapped files"
    one.hoisted.clear()
    room.note_slots(one, 0)
    room.note_kept(one, graphs=0)
    assert books.ledger.held == 0
    device = torch.device("meta")
    other = Residency(Ledger(device, budget=1 << 30), mover=CudaMover(device))
    Room(other, on_leave=lambda _: None).note_kept(one, graphs=7)
    assert other.ledger.held == 50 + 7


def test_where_nothing_seems_to_fit_two_rows_are_tried() -> None:
    one = own_model()
    room = Room(cpu_books(0), on_leave=lambda _: None)
    assert room.cap(one, kind(), 16) == 2


def test_large_decodes_are_tiled_before_anything_fails() -> None:
    one, params = own_model(), replace(PARAMS, width=256, height=256, images=1, steps=1)
    sides: list[int] = []
    decode = one.vae.decode

    def seen(latents: Tensor) -> Tensor:
        sides.append(max(latents.shape[-2:]))
        return decode(latents)

    def need(_ledger: Ledger, _model: Model, height: int, width: int, tile: int) -> int:
        assert (height, width) == (32, 32)
        return tile

    with patch.object(one.vae, "decode", seen), patch.object(Ledger, "decode_need", need):
        books = cpu_books(1 << 40)
        machine = Machine(max_batch=8, residency=books)
        machine.add(one, params)
        books.ledger.budget = 25
        run(machine)
    assert max(sides) == 20
    assert len(sides) > 1


async def test_what_can_never_fit_is_refused_before_work() -> None:
    one = own_model()
    async with Engine({"emoji": one}) as engine:
        books = next(iter(engine._lanes.values())).machine.room.books(one)
        books.ledger.budget = 8 << 20
        with patch.object(one.backbone, "run", side_effect=AssertionError):
            async with aclosing(engine.submit(replace(PARAMS, width=2048, height=2048))) as steps:
                with pytest.raises(OutOfMemoryError, match="2048x2048 needs about"):
                    await anext(steps)
        async with aclosing(engine.submit(PARAMS)) as steps:
            assert [step.index async for step in steps] == [1, 2, 3]


async def test_the_engine_writes_down_what_is_there_already() -> None:
    one = own_model()
    engine = Engine({"emoji": one})
    machine = next(iter(engine._lanes.values())).machine
    with patch.object(Residency, "adopt") as adopt:
        Engine({"emoji": one, "other": [one]})
    assert [call.args for call in adopt.call_args_list] == [(one,), (one,)]
    assert machine.room.books(one).always


def two_models(copier: Copier) -> tuple[Machine, list[Model]]:
    """A machine with room for one of two models."""
    models = [model() for _ in range(2)]
    ledger = Ledger(torch.device("meta"), budget=0)
    ledger.budget = weight_bytes(models[0]) + 2 * ledger.least_need(models[0], PARAMS)
    machine = Machine(max_batch=8, residency=Residency(ledger, mover=copier, host_budget=1 << 40))
    return machine, models


def test_weights_that_do_not_fit_after_all_fail_their_jobs_alone() -> None:
    class FullOnce(Copier):
        def to_device(self, tensor: Tensor) -> Tensor:
            try:
                return super().to_device(tensor)
            finally:
                self.fails_after = None

    copier = FullOnce()
    machine, (first, second) = two_models(copier)
    jobs = [machine.add(one, replace(PARAMS, images=1)) for one in (first, second)]
    copier.fails_after = 0
    told: dict[int, object] = {}
    while machine.busy:
        for job, answer in machine.tick():
            told[jobs.index(job)] = answer
    ends = sorted(type(answer).__name__ for answer in told.values())
    assert ends == ["OutOfMemoryError", "Step"]
    failed = next(answer for answer in told.values() if isinstance(answer, OutOfMemoryError))
    assert "do not fit into the device's memory (the device is full)" in str(failed)


def test_recordings_go_with_the_weights() -> None:
    machine, (first, second) = two_models(Copier())
    for one in (first, second):
        machine.graphs[one.backbone] = graphs_for(CPU)
        machine.room.books(one).adopt(one)
    machine.room.bring(first)
    assert list(machine.graphs) == [first.backbone]


async def test_an_engine_uses_no_more_than_it_is_given() -> None:
    async with Engine({"emoji": tiny_model()}, memory=4 << 20) as engine:
        with pytest.raises(OutOfMemoryError, match="the device has 4 MiB for it"):
            await last(engine.submit(replace(PARAMS, width=512, height=512)))
        await last(engine.submit(PARAMS))


async def test_an_engine_loads_again_what_no_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models, loads = {name: model() for name in "ab"}, []
    need = Ledger(torch.device("meta"), budget=0).least_need(models["a"], PARAMS)

    def books(device: torch.device, *, budget: int | None) -> Residency:
        assert (device, budget) == (CPU, 5)
        ledger = Ledger(torch.device("meta"), budget=weight_bytes(models["a"]) + 2 * need)
        return Residency(ledger, mover=Copier(), host_budget=0)

    def loader(name: str) -> Callable[[str], Model]:
        def load(device: str) -> Model:
            loads.append((name, device))
            return model()

        return load

    monkeypatch.setattr("diffusion.engine.residency_for", books)
    found = []
    async with Engine(models, memory=5, loaders={name: loader(name) for name in "ab"}) as engine:
        for name in "abab":
            found.append(await last(engine.submit(replace(PARAMS, model=name))))
    assert len(set(found)) == 1
    assert loads == [("b", "cpu"), ("a", "cpu"), ("b", "cpu")]


async def last(steps: AsyncIterator[Step]) -> bytes:
    """Return the pictures of a job's last step."""
    *_, step = [step async for step in steps]
    return b"".join(picture.tobytes() for picture in step.pictures or ())
