"""Many pictures run by tables, their registers side by side in one pool.

Promises: a picture's bits do not depend on who shares the call, on its slot or on what was there
before: a sum is products and additions in one fixed order, element by element, never a matrix
product. A register whose coefficient is 0 is not read, so whatever it holds (even NaN) goes
nowhere. What differs between pictures is data: shapes depend on the number of pictures alone. Never
knows networks, guidance or masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from diffusion.noise import PictureNoise
from diffusion.samplers.tables import (
    DENOISED,
    NOISE,
    REGISTERS,
    Row,
    Table,
    TableError,
    X,
)
from diffusion.transfer import upload

SAVED_VERSION: Final = 1


def combine(coefficients: Tensor, registers: Tensor) -> Tensor:
    """Return sum_k c_k register_k for each of n pictures, added up from the first to the last.

    coefficients: n x K, whose type is the one summed in; registers: n x K x C x h x w, whose type
    is the result's, n x C x h x w.
    """
    factors = coefficients[:, :, None, None, None]
    # Zero times NaN or infinity would be NaN.
    parts = torch.where(factors != 0, registers, 0.0) * factors
    total = torch.zeros_like(parts[:, 0])
    for k in range(registers.shape[1]):
        total = total + parts[:, k]
    return total.to(registers.dtype)


def advance(
    pool: Tensor,
    slots: Tensor,
    *,
    denoised: Tensor,
    noise: Tensor,
    coefficients: Tensor,
    keeps: Tensor,
    cells: Tensor,
) -> None:
    """Take n pictures to their next question in place; static shapes, nothing read by the host.

    pool: S x REGISTERS x C x h x w. slots, cells: n integers, no slot twice; denoised, noise:
    n x C x h x w; coefficients: n x REGISTERS; keeps: n x 2, the factors of (x, D) that go into the
    cell, which is NOISE where nothing is kept (it is spent by then).
    """
    pool[slots, DENOISED] = denoised
    pool[slots, NOISE] = noise
    registers = pool[slots]
    pool[slots, X] = combine(coefficients, registers)
    pool[slots, cells] = combine(keeps, registers[:, : DENOISED + 1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Saved:
    """One picture's state between two answers, without its table.

    tensors, on the CPU: "registers" (REGISTERS x C x h x w) and "generator" (the state of the
    picture's generator, bytes). facts: plain JSON, the table's fingerprint among them.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str | int]


@dataclass(slots=True, eq=False)
class _Picture:
    table: Table
    noise: PictureNoise
    answered: int = 0

    def row(self) -> Row:
        if self.answered == len(self.table.rows):
            raise ValueError("this picture is finished and takes no more answers")
        return self.table.rows[self.answered]

    def draw(self, row: Row) -> Tensor | None:
        """Make the draws of a row, as the coroutine would; return the one that is used."""
        used = None
        for k in row.draws:
            interval = self.table.draws[k]
            drawn = self.noise() if interval is None else self.noise.between(*interval)
            used = drawn if k == row.noise else used
        return used


class Slots:
    """A pool of registers for up to `capacity` pictures of one latent shape.

    shape: C x h x w. A slot's number is valid from `admit` or `restore` until `drop`; KeyError for
    one that holds nothing.
    """

    def __init__(
        self,
        capacity: int,
        shape: Sequence[int],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        sums: torch.dtype = torch.float64,
    ) -> None:
        self.pool = torch.zeros(capacity, REGISTERS, *shape, device=device, dtype=dtype)
        self.sums = sums
        self._pictures: dict[int, _Picture] = {}

    @property
    def taken(self) -> int:
        """How many pictures there are."""
        return len(self._pictures)

    @property
    def free(self) -> int:
        """How many more there is room for."""
        return len(self.pool) - len(self._pictures)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` pictures, no fewer than now; slots keep their numbers."""
        if capacity < len(self.pool):
            raise ValueError(f"{len(self.pool)} slots do not shrink to {capacity}")
        pool = self.pool.new_zeros(capacity, *self.pool.shape[1:])
        pool[: len(self.pool)] = self.pool
        self.pool = pool

    def admit(self, table: Table, x: Tensor, noise: PictureNoise) -> int:
        """Start a table on x (C x h x w, at the table's first level); return its slot.

        noise: where the picture's draws come from, in the coroutine's order. ValueError where the
        pool is full or x has another shape.
        """
        if x.shape != self.pool.shape[2:]:
            raise ValueError(f"latents of {tuple(x.shape)}, these are {tuple(self.pool.shape[2:])}")
        registers = torch.zeros(REGISTERS, *x.shape, dtype=self.pool.dtype)
        registers[X] = x
        return self._place(_Picture(table=table, noise=noise), registers)

    def sigma(self, slot: int) -> float | None:
        """Return the level of the question a picture waits on; None where it is finished."""
        picture = self._pictures[slot]
        rows = picture.table.rows
        return rows[picture.answered].sigma if picture.answered < len(rows) else None

    def latents(self, slots: Sequence[int]) -> Tensor:
        """Return each picture's question, or its result once finished: n x C x h x w, a copy."""
        return self._read(slots, X)

    def estimates(self, slots: Sequence[int]) -> Tensor:
        """Return the latest answers, n x C x h x w, a copy: the picture of a run stopped early.

        Zeros before the first answer.
        """
        return self._read(slots, DENOISED)

    def answer(self, slots: Sequence[int], denoised: Tensor) -> None:
        """Give pictures of any tables and any steps their estimates, n x C x h x w.

        ValueError for a picture named twice or finished, or for estimates of another shape;
        nothing is changed then.
        """
        rows = [self._pictures[slot].row() for slot in slots]
        if len(set(slots)) < len(slots):
            raise ValueError(f"a picture takes one answer at a time, these are for {list(slots)}")
        if denoised.shape != (len(slots), *self.pool.shape[2:]):
            raise ValueError(
                f"estimates of {tuple(denoised.shape)} for {len(slots)} pictures of "
                f"{tuple(self.pool.shape[2:])}"
            )
        if not rows:
            return
        keeps = [self._pictures[slot].table.keeps for slot in slots]
        device = self.pool.device
        places, cells, factors, kept = upload(
            device,
            torch.tensor(slots),
            torch.tensor([NOISE if row.cell is None else row.cell for row in rows]),
            torch.tensor([row.coefficients for row in rows], dtype=self.sums),
            torch.tensor(keeps, dtype=self.sums),
        )
        advance(
            self.pool,
            places,
            denoised=denoised.to(self.pool),
            noise=self._noise(slots, rows),
            coefficients=factors,
            keeps=kept,
            cells=cells,
        )
        for slot in slots:
            self._pictures[slot].answered += 1

    def drop(self, slot: int) -> None:
        """Forget a picture; its slot is free."""
        del self._pictures[slot]

    def save(self, slot: int) -> Saved:
        """Return a picture's state, to go on with after a restart; it stays here too."""
        picture = self._pictures[slot]
        return Saved(
            tensors={
                "registers": self.pool[slot].to("cpu", copy=True),
                "generator": picture.noise.generator.get_state(),
            },
            facts={
                "version": SAVED_VERSION,
                "table": picture.table.fingerprint,
                "answered": picture.answered,
                "seed": picture.noise.seed,
            },
        )

    def restore(self, table: Table, saved: Saved) -> int:
        """Go on with a picture under the table it was saved under; return its slot.

        TableError where the state is of another version, table or shape; ValueError where the pool
        is full.
        """
        registers, facts = saved.tensors["registers"], saved.facts
        answered, seed = facts.get("answered"), facts.get("seed")
        if facts.get("version") != SAVED_VERSION or facts.get("table") != table.fingerprint:
            raise TableError(f"saved under another version or table: {dict(facts)}")
        if registers.shape != self.pool.shape[1:]:
            raise TableError(f"saved registers are of shape {tuple(registers.shape)}")
        if not isinstance(seed, int) or not isinstance(answered, int):
            raise TableError(f"saved state without seed or progress: {dict(facts)}")
        if not 0 <= answered <= len(table.rows):
            raise TableError(f"saved after {answered} of {len(table.rows)} answers")
        noise = PictureNoise(registers.shape[1:], seed=seed)
        noise.generator.set_state(saved.tensors["generator"])
        return self._place(_Picture(table=table, noise=noise, answered=answered), registers)

    def _place(self, picture: _Picture, registers: Tensor) -> int:
        free = next((s for s in range(len(self.pool)) if s not in self._pictures), None)
        if free is None:
            raise ValueError(f"all {len(self.pool)} slots are taken")
        self.pool[free] = upload(self.pool.device, registers.to(self.pool.dtype))[0]
        self._pictures[free] = picture
        return free

    def _read(self, slots: Sequence[int], register: int) -> Tensor:
        for slot in slots:
            self._pictures[slot]
        (places,) = upload(self.pool.device, torch.tensor(slots, dtype=torch.int64))
        return self.pool[places, register]

    def _noise(self, slots: Sequence[int], rows: Sequence[Row]) -> Tensor:
        drawn = [self._pictures[s].draw(row) for s, row in zip(slots, rows, strict=True)]
        shape = len(slots), *self.pool.shape[2:]
        if all(each is None for each in drawn):
            return self.pool.new_zeros(shape)
        noise = torch.zeros(shape, dtype=self.pool.dtype)
        for i, each in enumerate(drawn):
            if each is not None:
                noise[i] = each
        return upload(self.pool.device, noise)[0]
