"""What the row machine asks about memory: who may come in, how many rows, whose weights are there.

Promises: where memory is plenty every answer is the one without a limit, and nothing is moved.
Never knows samplers or pictures.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress

import torch

from diffusion.adapters import stacks_of
from diffusion.errors import DiffusionError, OutOfMemoryError
from diffusion.exact import BASE
from diffusion.job import Job
from diffusion.model import Model
from diffusion.params import Params
from diffusion.residency import Residency, key_of, residency_for
from diffusion.rows import Kind


class Room:
    """The books of a machine's device; opened with its first model, unless they are given.

    `on_leave` is told of every model whose weights leave the device, before they do.
    """

    def __init__(
        self, residency: Residency | None = None, *, on_leave: Callable[[Model], None]
    ) -> None:
        self._residency = residency
        self._on_leave = on_leave
        if residency is not None:
            residency.on_leave = on_leave
        self._leading: frozenset[int] | None = None

    def books(self, model: Model) -> Residency:
        """Return the books of a model's device."""
        if self._residency is None:
            self._residency = residency_for(model.device)
            self._residency.on_leave = self._on_leave
        return self._residency

    def admit(self, model: Model, params: Params) -> None:
        """Let a job in; OutOfMemoryError when it can never fit."""
        books = self.books(model)
        books.ledger.check(params, model)
        books.adopt(model, need=books.ledger.least_need(model, params))

    def take_turns(self, jobs: Iterable[Job]) -> None:
        """Settle whose jobs may lead until the next call."""
        books = self._residency
        if books is None or books.always:
            return
        self._leading = books.turn(
            (job.model, job.account.rank) for job in jobs if job.waiting() or _has_work(job)
        )

    def may_lead(self, job: Job) -> bool:
        """Whether a job may go on now: its model is there, or will be brought for it."""
        return self._leading is None or key_of(job.model) in self._leading

    def cap(self, model: Model, kind: Kind, most: int) -> int:
        """Return how many rows a pass should have, at most `most`; the model is there afterwards,
        unless it cannot be: then `bring` says why.
        """
        books = self.books(model)
        if not books.always:
            with suppress(DiffusionError, torch.OutOfMemoryError):
                books.acquire(model, books.ledger.pass_need(model, kind, min(BASE, most)))
        # Less than a strict pass has is tried: the ladder of smaller things stands behind it.
        return max(min(BASE, most), books.ledger.rows_that_fit(model, kind, most))

    def note_kept(self, model: Model, *, graphs: int) -> None:
        """Write down what stays on the device beside a model's weights: keys and values, LoRAs and
        ControlNets that were read, and `graphs` bytes of recordings.
        """
        books = self.books(model)
        # On a CPU they are mapped files, like the weights.
        addons = 0 if books.always else model.addons.bytes
        kept = model.hoisted.bytes + stacks_of(model.backbone).bytes + addons + graphs
        books.ledger.hold(("kept", key_of(model)), kept)

    def note_slots(self, model: Model, nbytes: int) -> None:
        """Write down what the pictures under way hold on a model's device."""
        self.books(model).ledger.hold("slots", nbytes)

    def bring(self, model: Model) -> None:
        """Have a model's weights on the device; OutOfMemoryError or CheckpointError where they
        cannot be.
        """
        try:
            self.books(model).acquire(model)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        else:
            return
        raise OutOfMemoryError(
            f"the weights of {model.info.name!r} do not fit into the device's memory ({reason}); "
            "choose a smaller model."
        )

    def decode_tile(self, job: Job, index: int, most: int) -> int:
        """Return how large the tiles of a finished painting are, at most `most`, and make room for
        decoding one.
        """
        books, (height, width) = self.books(job.model), job.paintings[index].shape[-2:]
        tile = books.ledger.decode_tile_that_fits(job.model, height, width, most)
        books.acquire(job.model, books.ledger.decode_need(job.model, height, width, tile))
        return tile

    def measuring(self, model: Model, kind: Kind, rows: int) -> AbstractContextManager[None]:
        """Note what the pass inside the block takes at most."""
        return self.books(model).ledger.measuring(model, kind, rows)


def _has_work(job: Job) -> bool:
    return not job.paused and (job.work is not None or job.undecoded() is not None)
