"""Which models' weights are on a device, which in host memory, which in their files alone.

Promises: what fits stays; where it does not, the model that was used longest ago for its size goes
to host memory, and from there out, to be loaded again when somebody asks. Weights move one by one
and are never twice on the device; a model comes back bit for bit. Who may be next is for
`diffusion.turns` to say. Never knows jobs or pictures.

Models on a CPU are always there: their weights are mapped files, which the kernel moves by itself.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor

from diffusion.available import available
from diffusion.ledger import Ledger, networks_of, weight_bytes
from diffusion.model import Model
from diffusion.turns import Candidate, Rank, prefer

# Seconds a byte before any change was measured: half of what PCIe 4 carries, and a fast disk.
_BUS: Final = 1 / 12e9
_DISK: Final = 1 / 1e9

Clock: TypeAlias = Callable[[], float]
Loader: TypeAlias = Callable[[], Model]


class Place(Enum):
    """Where a model's weights are."""

    DEVICE = "device"
    HOST = "host"
    OUT = "out"


class Mover(Protocol):
    """What copies weights between a device and host memory."""

    def to_host(self, tensor: Tensor) -> Tensor:
        """Return a copy in host memory; the one on the device is not used any more."""

    def to_device(self, tensor: Tensor) -> Tensor:
        """Return a copy on the device; the one in host memory is left as it is."""

    def finish(self) -> None:
        """Wait until all copies are done, and give back what was freed."""


class CudaMover:
    """Copies through pinned memory, which the bus reads without the processor's help."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def to_host(self, tensor: Tensor) -> Tensor:
        """Return a copy in pinned memory."""
        return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)

    def to_device(self, tensor: Tensor) -> Tensor:
        """Return a copy on the device; it may still be on its way."""
        return tensor.to(self._device, non_blocking=True)

    def finish(self) -> None:
        """Wait for the device, and let others have what was freed."""
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()


@dataclass(slots=True, eq=False)
class _Resident:
    """One model. host: copies of its tensors in host memory, in their order, or nothing; need:
    bytes that its work wants beside its weights; since: when it began to wait.
    """

    model: Model
    tensors: list[Tensor]
    nbytes: int
    place: Place
    loader: Loader | None
    used: float
    host: list[Tensor] = field(default_factory=list)
    need: int = 0
    since: float | None = None


class Residency:
    """The models of one device. For the device's thread alone.

    `mover` is None where models are always there. `host_budget`: bytes of host memory for weights;
    None takes half of what is available now.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        mover: Mover | None,
        host_budget: int | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.ledger = ledger
        self.changes = 0
        # Told of every model before its weights leave the device.
        self.on_leave: Callable[[Model], None] = lambda _: None
        self._mover = mover
        if host_budget is None:
            host_budget = available(torch.device("cpu")) // 2
        self._host_budget = host_budget
        self._clock = clock
        self._found: dict[int, _Resident] = {}
        self._working: frozenset[int] = frozenset()
        self._rates = {Place.HOST: _BUS, Place.OUT: _DISK}
        self._changed_at = self._clock()
        self._last_change = 0.0

    @property
    def always(self) -> bool:
        """Whether every model is always there."""
        return self._mover is None

    def adopt(self, model: Model, *, loader: Loader | None = None, need: int = 0) -> None:
        """Take note of a model, and of the bytes that a job of it needs beside its weights.

        `loader` loads it anew onto its device; without one it never leaves host memory.
        """
        if self._mover is None:
            return
        one = self._found.get(key_of(model))
        if one is None:
            one = self._found[key_of(model)] = self._first_seen(model, loader)
        one.loader = loader or one.loader
        one.need = max(one.need, need)

    def preload(self) -> None:
        """Bring the models that wait in host memory to the device, the first adopted first, as long
        as they fit.
        """
        if self._mover is None:
            return
        for one in self._found.values():
            if one.place is Place.HOST and one.nbytes <= self.ledger.free:
                # What does not fit after all stays where it is until somebody asks for it.
                with suppress(torch.OutOfMemoryError):
                    self._bring(one, self._mover)

    def place(self, model: Model) -> Place:
        """Return where a model's weights are."""
        one = self._found.get(key_of(model))
        return Place.DEVICE if one is None else one.place

    def turn(self, waiting: Iterable[tuple[Model, Rank]]) -> frozenset[int] | None:
        """Return the keys of the models whose jobs may go on now; None: everybody's.

        `waiting`: a model and the rank of its turn for every job that has something to do.
        """
        if self._mover is None:
            return None
        ranks: dict[int, Rank] = {}
        for model, rank in waiting:
            self.adopt(model)
            ranks[key_of(model)] = min(rank, ranks.get(key_of(model), rank))
        self._working = frozenset(ranks)
        now = self._clock()
        for key, one in self._found.items():
            if key not in ranks:
                one.since, one.need = None, 0
            elif one.since is None:
                one.since = now
        chosen = prefer(
            [self._candidate(key, rank, now) for key, rank in ranks.items()],
            stayed=now - self._changed_at,
            last_change=self._last_change,
        )
        leading = frozenset(ranks) & chosen
        for key in leading:
            self._found[key].since = None
        return leading

    def acquire(self, model: Model, need: int = 0) -> None:
        """Bring a model's weights to the device, and make room for `need` bytes beside them.

        Others leave for it, those without work first, and of them who is largest and was used
        longest ago. Where there is still no room for `need` the work is tried: it may want less.
        Raises torch.OutOfMemoryError when the weights do not fit, CheckpointError when they have to
        be loaded and cannot be; the model is then where it was.
        """
        if self._mover is None:
            return
        self.adopt(model, need=need)
        one = self._found[key_of(model)]
        one.used = self._clock()
        missing = 0 if one.place is Place.DEVICE else one.nbytes
        while self.ledger.free < missing + need:
            others = [o for o in self._found.values() if o is not one and o.place is Place.DEVICE]
            if not others:
                break
            self._send_away(max(others, key=self._dispensable))
        if missing:
            self._bring(one, self._mover)

    @torch.inference_mode(mode=False)
    def _first_seen(self, model: Model, loader: Loader | None) -> _Resident:
        tensors = _tensors(model)
        there = all(tensor.device.type == model.device.type for tensor in tensors)
        one = _Resident(
            model=model,
            tensors=tensors,
            nbytes=weight_bytes(model),
            place=Place.DEVICE if there else Place.HOST,
            loader=loader,
            used=self._clock(),
            host=[] if there else [tensor.data for tensor in tensors],
        )
        if there:
            self.ledger.hold(("weights", key_of(model)), one.nbytes)
        else:
            self._leave_device(one, Place.HOST)
        return one

    def _candidate(self, key: int, rank: Rank, now: float) -> Candidate:
        one = self._found[key]
        here = one.place is Place.DEVICE
        return Candidate(
            key=key,
            rank=rank,
            ready=here or self._fits(one),
            waited=0.0 if one.since is None else now - one.since,
            change=0.0 if here else one.nbytes * self._rates[one.place],
        )

    def _fits(self, one: _Resident) -> bool:
        """Whether a model fits beside those that have work, and the work of any of them."""
        idle = [
            other.nbytes
            for key, other in self._found.items()
            if other.place is Place.DEVICE and key not in self._working
        ]
        need = max(self._found[key].need for key in self._working)
        return one.nbytes + need <= self.ledger.free + sum(idle)

    def _dispensable(self, one: _Resident) -> tuple[bool, float]:
        idle = key_of(one.model) not in self._working
        return idle, one.nbytes * (self._clock() - one.used)

    @torch.inference_mode(mode=False)
    def _bring(self, one: _Resident, mover: Mover) -> None:
        started, came_from = self._clock(), one.place
        try:
            if came_from is Place.OUT:
                self._load(one)
            else:
                for tensor, copy in zip(one.tensors, one.host, strict=True):
                    tensor.data = mover.to_device(copy)
            mover.finish()
        except BaseException:
            # Half a model is of no use to anybody.
            self._leave_device(one, came_from)
            raise
        one.place = Place.DEVICE
        self.ledger.hold(("weights", key_of(one.model)), one.nbytes)
        self._trim(0)
        seconds = self._clock() - started
        self._rates[came_from] = seconds / max(1, one.nbytes)
        self.changes += 1
        self._changed_at, self._last_change = self._clock(), seconds

    def _load(self, one: _Resident) -> None:
        if one.loader is None:
            raise RuntimeError("a model that nobody can load again never leaves host memory")
        for tensor, loaded in zip(one.tensors, _tensors(one.loader()), strict=True):
            tensor.data = loaded.data

    @torch.inference_mode(mode=False)
    def _send_away(self, one: _Resident) -> None:
        """Take a model off the device: to host memory, or out where that has no room for it."""
        if self._mover is None:
            return
        self.on_leave(one.model)
        if not one.host:
            self._trim(one.nbytes)
            if one.loader is None or self._host_held() + one.nbytes <= self._host_budget:
                for tensor in one.tensors:
                    one.host.append(self._mover.to_host(tensor.data))
                    tensor.data = _nothing(tensor, one.model.device)
        self._leave_device(one, Place.HOST if one.host else Place.OUT)
        self._mover.finish()

    def _leave_device(self, one: _Resident, place: Place) -> None:
        for tensor in one.tensors:
            tensor.data = _nothing(tensor, one.model.device)
        one.place = place
        self.ledger.hold(("weights", key_of(one.model)), 0)

    def _trim(self, extra: int) -> None:
        """Make room for `extra` bytes in host memory: copies of models that are on the device go
        first, then models that can be loaded again.
        """
        by_age = sorted(self._found.values(), key=lambda one: one.used)
        copies = [one for one in by_age if one.host and one.place is Place.DEVICE]
        away = [one for one in by_age if one.host and one.place is Place.HOST and one.loader]
        for one in (*copies, *away):
            if self._host_held() + extra <= self._host_budget:
                return
            if one.place is Place.HOST:
                one.place = Place.OUT
            one.host.clear()

    def _host_held(self) -> int:
        return sum(one.nbytes for one in self._found.values() if one.host)


def key_of(model: Model) -> int:
    """Return what models with the same weights have in common."""
    return id(model.backbone)


def residency_for(device: torch.device, *, budget: int | None = None) -> Residency:
    """Open the books of a device. `budget`: bytes that may be used there; None measures it now."""
    mover = None if device.type == "cpu" else CudaMover(device)
    return Residency(Ledger(device, budget=budget), mover=mover)


def _nothing(tensor: Tensor, device: torch.device) -> Tensor:
    """Return what stands for a weight that is away: its shape, precision and device, without its
    memory. Who matches a LoRA asks for those; who computes with it gets no number.
    """
    value = float("nan") if tensor.is_floating_point() else 0
    return torch.full((1,), value, dtype=tensor.dtype, device=device).expand(tensor.shape)


def _tensors(model: Model) -> list[Tensor]:
    """Return a model's weights and buffers, each once, in a fixed order."""
    found = [
        tensor
        for network in networks_of(model)
        for tensor in (*network.parameters(), *network.buffers())
    ]
    return list({id(tensor): tensor for tensor in found}.values())
