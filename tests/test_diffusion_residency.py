"""Where weights are: who leaves, who comes back, and that nothing of it shows in a picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from diffusion import CheckpointError, Model, Params, Step, residency
from diffusion.adapters import stacks_of
from diffusion.job import Job
from diffusion.ledger import Ledger, weight_bytes
from diffusion.loading import load_model
from diffusion.machine import Machine
from diffusion.residency import CudaMover, Place, Residency, key_of, residency_for
from diffusion.residency import _nothing as nothing
from diffusion.turns import PATIENCE
from tests.tiny import tiny_folder, tiny_model

CPU = torch.device("cpu")
MIB = 1 << 20
PARAMS = Params(prompt="a red heart", model="a", steps=4, width=32, height=32, images=2)


@dataclass
class Copier:
    """A device that is a second place in this machine's memory: everything is really copied.

    Counts the bytes on it; `most` is the most at once. `fails_after` copies it is full.
    """

    there: int = 0
    most: int = 0
    moves: list[str] = field(default_factory=list)
    fails_after: int | None = None

    def to_host(self, tensor: Tensor) -> Tensor:
        self.there -= tensor.nbytes
        self.moves.append("host")
        return tensor.clone()

    def to_device(self, tensor: Tensor) -> Tensor:
        if self.fails_after is not None:
            self.fails_after -= 1
            if self.fails_after < 0:
                raise torch.OutOfMemoryError("the device is full")
        self.there += tensor.nbytes
        self.most = max(self.most, self.there)
        self.moves.append("device")
        return tensor.clone()

    def finish(self) -> None:
        self.moves.append("finish")


class Clock:
    """A clock that only moves when it is told to, or by a step at every look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def model() -> Model:
    return load_model(tiny_folder())


BYTES = weight_bytes(tiny_model())


def books(
    room: float,
    *,
    copier: Copier | None = None,
    host: int = 1 << 40,
    clock: Clock | None = None,
) -> Residency:
    """Books of a device with room for so many models of the tiny kind."""
    ledger = Ledger(torch.device("meta"), budget=int(room * BYTES))
    mover = copier or Copier()
    return Residency(ledger, mover=mover, host_budget=host, clock=clock or Clock(1.0))


def bits(of: Model) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in of.backbone.parameters()]


def test_on_a_cpu_everybody_is_always_there() -> None:
    found = residency_for(CPU)
    assert found.always
    one = model()
    before = [p.data_ptr() for p in one.backbone.parameters()]
    found.adopt(one)
    found.acquire(one, need=1 << 60)
    assert found.turn([(one, (0.0, 0))]) is None
    assert found.place(one) is Place.DEVICE
    assert [p.data_ptr() for p in one.backbone.parameters()] == before
    assert not residency_for(torch.device("meta"), budget=5).always


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let weights that are away stand in the Copier's memory, though the device is called meta: no
    tensor here can become one there.
    """
    monkeypatch.setattr(residency, "_nothing", lambda tensor, _: nothing(tensor, CPU))


@pytest.mark.usefixtures("elsewhere")
def test_models_left_in_host_memory_are_brought_as_far_as_they_fit() -> None:
    copier = Copier()
    found = books(2.5, copier=copier)
    models = [load_model(tiny_folder(), device="meta", offload=True) for _ in range(3)]
    before = [bits(one) for one in models]
    for one in models:
        found.adopt(one)
    assert [found.place(one) for one in models] == [Place.HOST] * 3
    assert found.ledger.held == 0
    found.preload()
    assert [found.place(one) for one in models] == [Place.DEVICE, Place.DEVICE, Place.HOST]
    assert [bits(one) for one in models[:2]] == before[:2]
    assert found.ledger.held == 2 * BYTES
    # Their copies are there already: who leaves is not copied again.
    found.acquire(models[2])
    assert "host" not in copier.moves
    assert [found.place(one) for one in models] == [Place.HOST, Place.DEVICE, Place.DEVICE]
    assert bits(models[2]) == before[2]


@pytest.mark.usefixtures("elsewhere")
def test_a_device_that_is_full_already_lets_models_wait_in_host_memory() -> None:
    copier = Copier(fails_after=3)
    found = books(2.5, copier=copier)
    one = load_model(tiny_folder(), device="meta", offload=True)
    before = bits(one)
    found.adopt(one)
    found.preload()
    assert found.place(one) is Place.HOST
    assert found.ledger.held == 0
    copier.fails_after = None
    found.acquire(one)
    assert bits(one) == before


def test_who_leaves_takes_along_what_was_computed_from_its_weights() -> None:
    asked = Mock(return_value={})
    models = [model() for _ in range(2)]
    found = books(1.5)
    found.ledger.budget = BYTES + 2 * found.ledger.least_need(models[0], PARAMS)
    machine = Machine(max_batch=8, residency=found)
    paint(machine, [machine.add(models[0], PARAMS)])
    stacks_of(models[0].backbone).company("key", None, dict)
    kept = models[0].hoisted.bytes
    assert kept > 0
    assert BYTES < found.ledger.held <= BYTES + kept
    paint(machine, [machine.add(models[1], PARAMS)])
    assert found.place(models[0]) is Place.HOST
    assert models[0].hoisted.bytes == 0
    assert stacks_of(models[0].backbone).company("key", None, asked) is not None
    assert asked.call_count == 1, "its stacks were forgotten"
    assert found.ledger.held < 2 * BYTES
    assert paint(machine, [machine.add(models[0], PARAMS)])[0] == alone(tiny_model(), PARAMS)


def test_what_fits_stays() -> None:
    found, models = books(3), [model() for _ in range(3)]
    for one in models * 3:
        found.acquire(one)
    assert [found.place(one) for one in models] == [Place.DEVICE] * 3
    assert found.ledger.held == 3 * BYTES
    assert found.changes == 0


def test_the_least_recently_used_goes_and_comes_back_bit_for_bit() -> None:
    copier = Copier()
    found, (a, b, c) = books(2.5, copier=copier), [model() for _ in range(3)]
    before = bits(a)
    for one in (a, b):
        found.acquire(one)
    found.acquire(b)
    found.acquire(c)
    assert [found.place(one) for one in (a, b, c)] == [Place.HOST, Place.DEVICE, Place.DEVICE]
    assert found.ledger.held == 2 * BYTES
    assert all(bool(p.isnan().all()) for p in a.backbone.parameters()), "nobody computes with it"
    assert [p.shape for p in a.backbone.parameters()] == [p.shape for p in b.backbone.parameters()]
    found.acquire(a)
    assert bits(a) == before
    assert found.place(b) is Place.HOST, "c was used after it"
    assert found.changes == 1


def test_a_host_copy_is_made_once() -> None:
    copier = Copier()
    found, (a, b) = books(1.5, copier=copier), [model() for _ in range(2)]
    for one in (a, b, a, b, a):
        found.acquire(one)
    tensors = copier.moves.count("host") // 2
    assert copier.moves.count("host") == 2 * tensors
    assert copier.moves.count("device") == 4 * tensors - copier.moves.count("host") // 2
    assert copier.moves[-1] == "finish"


def test_weights_are_never_twice_on_the_device() -> None:
    copier = Copier(there=BYTES)
    found, (a, b) = books(1.5, copier=copier), [model() for _ in range(2)]
    found.acquire(a)
    found.acquire(b)  # It is there from the start, so one of them leaves.
    copier.there, copier.most = 0, 0
    for one in (a, b, a, b):
        found.acquire(one)
        # What is dropped without a copy is not seen by the mover: count anew.
        assert copier.most <= BYTES
        copier.there, copier.most = 0, 0


def test_large_and_idle_ones_go_before_small_and_busy_ones() -> None:
    found, (a, b, c) = books(2.5), [model() for _ in range(3)]
    for one in (a, b):
        found.acquire(one)
    # a was used longest ago, but has work.
    found.turn([(a, (0.0, 0)), (c, (1.0, 1))])
    found.acquire(c)
    assert [found.place(one) for one in (a, b)] == [Place.DEVICE, Place.HOST]
    found.turn([(a, (0.0, 0)), (b, (0.0, 2)), (c, (1.0, 1))])
    found.acquire(b)
    assert found.place(a) is Place.HOST, "where all have work, who was used longest ago"


def test_room_for_work_is_made_too() -> None:
    found, (a, b) = books(2.5), [model() for _ in range(2)]
    found.acquire(b)
    found.acquire(a, need=BYTES // 4)
    assert found.place(b) is Place.DEVICE
    found.acquire(a, need=BYTES)
    assert found.place(b) is Place.HOST
    found.acquire(a, need=100 * BYTES)
    assert found.place(a) is Place.DEVICE, "the work is tried all the same"


def test_models_out_of_host_memory_are_loaded_again() -> None:
    loads: list[str] = []

    def loader(name: str) -> Callable[[], Model]:
        def load() -> Model:
            loads.append(name)
            return model()

        return load

    found = books(1.5, host=BYTES + BYTES // 2)
    names = {name: model() for name in "abc"}
    before = bits(names["a"])
    for name, one in names.items():
        found.adopt(one, loader=loader(name))
    for one in names.values():
        found.acquire(one)
    assert [found.place(one) for one in names.values()] == [Place.OUT, Place.HOST, Place.DEVICE]
    assert loads == ["b", "c"], "all were there at first, and only one could stay"
    found.acquire(names["a"])
    assert loads == ["b", "c", "a"]
    assert bits(names["a"]) == before
    assert found.place(names["c"]) is Place.HOST
    assert found.place(names["b"]) is Place.OUT


def test_without_host_memory_or_a_loader_what_must_stay_stays() -> None:
    found, (a, b) = books(1.5, host=0), [model() for _ in range(2)]
    found.adopt(a, loader=model)
    found.acquire(a)
    found.acquire(b)
    assert found.place(a) is Place.OUT
    found.acquire(a)
    assert found.place(b) is Place.HOST, "nobody could load it again"


def test_a_file_that_is_gone_is_told_and_the_model_stays_out() -> None:
    def gone() -> Model:
        raise CheckpointError("the file is gone")

    found, (a, b) = books(1.5, host=0), [model() for _ in range(2)]
    found.adopt(a, loader=gone)
    found.acquire(b)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is gone"):
            found.acquire(a)
        assert found.place(a) is Place.OUT


def test_a_device_that_is_full_after_all_leaves_the_model_where_it_was() -> None:
    copier = Copier()
    found, (a, b) = books(1.5, copier=copier), [model() for _ in range(2)]
    before = bits(a)
    for one in (a, b):
        found.acquire(one)
    copier.fails_after = 3
    with pytest.raises(torch.OutOfMemoryError):
        found.acquire(a)
    assert found.place(a) is Place.HOST
    assert found.ledger.held == 0
    copier.fails_after = None
    found.acquire(a)
    assert bits(a) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_loaded_into_host_memory_waits_there() -> None:
    device = torch.device("cuda")
    one = replace(model(), device=device)
    before = bits(one)
    found = residency_for(device)
    found.adopt(one)
    assert found.place(one) is Place.HOST
    assert found.ledger.held == 0
    assert all(p.is_cuda for p in one.backbone.parameters()), "who matches a LoRA asks"
    found.acquire(one)
    assert [p.cpu().numpy().tobytes() for p in one.backbone.parameters()] == before


def test_copies_of_a_model_share_its_weights() -> None:
    found, one = books(1.5), model()
    other = replace(one, dtype=torch.float32)
    found.acquire(one)
    found.acquire(other)
    assert key_of(one) == key_of(other)
    assert found.ledger.held == BYTES


def test_turns_are_taken_by_the_clock_and_the_measured_change() -> None:
    clock = Clock()
    found, (a, b) = books(1.5, clock=clock), [model() for _ in range(2)]
    for one in (b, a):
        found.acquire(one)
    assert (found.place(a), found.place(b)) == (Place.DEVICE, Place.HOST)
    both = [(a, (5.0, 0)), (b, (0.0, 1))]
    found.turn([both[0]])
    change = BYTES / 12e9
    assert found.turn(both) == frozenset({key_of(a)}), "who is there goes on"
    clock.now += PATIENCE * change * 0.9
    assert found.turn(both) == frozenset({key_of(a)})
    clock.now += PATIENCE * change * 0.2
    assert found.turn([both[0]]) == frozenset({key_of(a)}), "the other has no work any more"
    assert found.turn(both) == frozenset({key_of(a)}), "and begins to wait anew"
    clock.now += PATIENCE * change * 1.1
    assert found.turn(both) == frozenset({key_of(b)})
    assert found.turn([both[1]]) == frozenset({key_of(b)})
    assert found.turn([]) == frozenset()


def test_who_fits_beside_the_others_need_not_wait() -> None:
    found, (a, b, c) = books(2.5), [model() for _ in range(3)]
    for one in (a, b, c):
        found.acquire(one)
    assert found.place(a) is Place.HOST
    # b has no work, so it would go, and nobody's picture would wait for it.
    turns = [(a, (0.0, 0)), (c, (0.0, 1))]
    assert found.turn(turns) == frozenset({key_of(a), key_of(c)})
    found.adopt(c, need=BYTES)
    assert found.turn(turns) == frozenset({key_of(c)}), "c could not work beside it"


def paint(machine: Machine, jobs: list[Job]) -> dict[int, list[bytes]]:
    """Run until all are done; return each job's pictures, by its number."""
    found: dict[int, list[bytes]] = {}
    while machine.busy:
        for job, answer in machine.tick():
            if not isinstance(answer, Step):
                raise answer
            if answer.pictures is not None:
                found[jobs.index(job)] = [picture.tobytes() for picture in answer.pictures]
    return found


def alone(one: Model, params: Params) -> list[bytes]:
    machine = Machine(max_batch=8)
    return paint(machine, [machine.add(one, params)])[0]


@contextmanager
def patience(monkeypatch: pytest.MonkeyPatch, times: float) -> Iterator[None]:
    """Let others wait so many times a change; 0: change at every tick, amid every picture."""
    with monkeypatch.context() as patched:
        patched.setattr("diffusion.turns.PATIENCE", times)
        yield


@pytest.mark.parametrize("host", [1 << 40, 0], ids=["host", "out"])
def test_offloaded_and_reloaded_in_the_middle_of_a_picture_no_byte_differs(
    host: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [model() for _ in range(3)]
    params = [
        replace(PARAMS, seed=seed, sampler=sampler, images=1)
        for seed, sampler in enumerate(["euler", "dpmpp_2m", "euler_a"])
    ]
    expected = [alone(tiny_model(), each) for each in params]
    found = books(1.5, host=host)
    need = found.ledger.least_need(models[0], PARAMS)
    found.ledger.budget = BYTES + 2 * need
    for one in models:
        found.adopt(one, loader=model)
    with patience(monkeypatch, 0.0):
        machine = Machine(max_batch=8, residency=found)
        jobs = [machine.add(one, each) for one, each in zip(models, params, strict=True)]
        pictures = paint(machine, jobs)
    assert [pictures[i] for i in range(3)] == expected
    assert found.changes > 3 * PARAMS.steps / 2


def test_patience_makes_changes_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [model() for _ in range(2)]
    found = books(1.5)
    found.ledger.budget = BYTES + 2 * found.ledger.least_need(models[0], PARAMS)
    with patience(monkeypatch, 1000.0):
        machine = Machine(max_batch=8, residency=found)
        jobs = [machine.add(one, replace(PARAMS, seed=i)) for i, one in enumerate(models * 2)]
        pictures = paint(machine, jobs)
    assert pictures[3] == alone(tiny_model(), replace(PARAMS, seed=3))
    assert found.changes <= 3


def test_a_change_that_copies_wrongly_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: one weight in a thousand is rounded on its way, and bytes differ."""

    class Sloppy(Copier):
        def to_device(self, tensor: Tensor) -> Tensor:
            copy = super().to_device(tensor)
            if copy.is_floating_point():
                copy.view(-1)[::1000] *= 1.1
            return copy

    models = [model() for _ in range(2)]
    expected = [alone(tiny_model(), replace(PARAMS, seed=i)) for i in range(2)]
    found = books(1.5, copier=Sloppy())
    found.ledger.budget = BYTES + 2 * found.ledger.least_need(models[0], PARAMS)
    with patience(monkeypatch, 0.0):
        machine = Machine(max_batch=8, residency=found)
        jobs = [machine.add(one, replace(PARAMS, seed=i)) for i, one in enumerate(models)]
        pictures = paint(machine, jobs)
    assert [pictures[i] for i in range(2)] != expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_moves_there_and_back() -> None:
    device = torch.device("cuda")
    mover, x = CudaMover(device), torch.randn(1000, device=device)
    copy = mover.to_host(x)
    assert copy.is_pinned()
    back = mover.to_device(copy)
    mover.finish()
    assert torch.equal(back, x)
