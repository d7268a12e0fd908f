"""One picture in the making whose sampler runs as a table, its registers on the device.

What a `Painting` is to the coroutines, a `SlotPainting` is to `diffusion.slots`: it knows its plan,
its conditions and how far it is, and nothing of its latents ever comes to the host before it is
decoded. Promises: the same questions as the coroutine's, to 2e-6 of the largest value; the same
draws from the picture's own generator; its answers are its state, so that what stopped under one
kind goes on under the other. A slot is held from the first question to the last answer or `close`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias

import torch
from torch import Tensor

from diffusion.conditions import Condition, Guide
from diffusion.noise import PictureNoise
from diffusion.painting import Kept, Painting
from diffusion.plan import Plan
from diffusion.samplers import Sampler, Table, compile_table, trace
from diffusion.schedules import Levels
from diffusion.slots import Slots
from diffusion.transfer import upload

# Slots of a pool when its first picture comes; a full pool doubles.
FIRST: Final = 8
# Tables kept: people ask for few samplers and numbers of steps, again and again.
_TABLES: Final = 256


@lru_cache(maxsize=_TABLES)
def table_of(sampler: Sampler, levels: Levels, eta: float | None) -> Table:
    """Return a sampler's table over given levels. Raises TableError."""
    return compile_table(trace(sampler, levels, eta=eta))


class Pools:
    """The pools of one machine: one for every device and shape of latents that is being painted.

    A pool goes with its last picture, so that a size nobody paints any more keeps no memory.
    """

    def __init__(self) -> None:
        self._pools: dict[tuple[torch.device, torch.Size], Slots] = {}

    @property
    def taken(self) -> int:
        """Pictures that hold a slot."""
        return sum(pool.taken for pool in self._pools.values())

    @property
    def bytes(self) -> int:
        """What all pools hold in memory."""
        return sum(pool.pool.nbytes for pool in self._pools.values())

    def start(
        self, painting: Painting, noise: PictureNoise, device: torch.device
    ) -> "SlotPainting":
        """Let a table on a device take over from a painting at its first question.

        `noise`: where the painting's sampler draws from. Raises TableError.
        """
        if painting.request is None or painting.answered:
            raise RuntimeError("a table takes over at the first question")
        plan, (x, _) = painting.plan, painting.request
        table = table_of(plan.sampler, plan.levels, plan.eta)
        key = device, x.shape
        pool = self._pools.get(key)
        if pool is None:
            pool = Slots(FIRST, x.shape, device=device)
        elif not pool.free:
            pool.grow(2 * len(pool.pool))
        kept = painting.kept
        if kept is not None:
            latents, start, mask = upload(device, kept.latents, kept.noise, kept.mask)
            kept = Kept(latents=latents, noise=start, mask=mask)
        channels = painting.channels
        made = SlotPainting(
            plan=plan,
            guide=painting.guide,
            shape=painting.shape,
            pools=self,
            pool=pool,
            slot=pool.admit(table, x, noise),
            kept=kept,
            channels=None if channels is None else upload(device, channels)[0],
        )
        self._pools[key] = pool
        # It holds no latents of its own any more.
        painting.close()
        return made

    def drop(self, pool: Slots, slot: int) -> None:
        """Free a slot; its pool goes when it was the last."""
        pool.drop(slot)
        if not pool.taken:
            self._pools = {key: other for key, other in self._pools.items() if other is not pool}


@dataclass(slots=True, kw_only=True, eq=False)
class SlotPainting:
    """The state of one picture; see `Painting` for what the names mean.

    `slot` is its place in `pool`, None once nothing is asked any more. `verified`: how many of its
    answers are known to be finite; a device tells that later.
    """

    plan: Plan
    guide: Guide
    shape: torch.Size
    pools: Pools
    pool: Slots
    slot: int | None
    kept: Kept | None = None
    channels: Tensor | None = None
    denoised: Tensor | None = None
    answered: int = 0
    verified: int = 0
    answers: list[Tensor] = field(default_factory=list)
    _end: Tensor | None = None

    @property
    def rows(self) -> int:
        """Rows of one forward pass for this picture."""
        return self.guide.rows

    @property
    def steps_done(self) -> int:
        """Sampler steps that are behind it."""
        return self.answered * self.plan.steps // self.plan.all_evaluations

    @property
    def waits(self) -> bool:
        """Whether it wants an estimate."""
        return self.slot is not None

    @property
    def request(self) -> tuple[Tensor, float] | None:
        """What the sampler waits on, (x, sigma); x is a copy on the device, C x h x w."""
        return None if self.slot is None else (self.seen(self.latents()), self.sigma)

    @property
    def finished(self) -> Tensor | None:
        """The C x h x w latents in the end, once all answers are known to be finite."""
        return self._end if self.verified == self.answered else None

    @property
    def sigma(self) -> float:
        """The noise level of the question."""
        sigma = self.pool.sigma(self.place)
        if sigma is None:
            raise RuntimeError("this painting's table has ended")
        return sigma

    @property
    def place(self) -> int:
        """Its slot; RuntimeError when it has none."""
        if self.slot is None:
            raise RuntimeError("this painting waits for nothing")
        return self.slot

    def conditions(self) -> list[Condition]:
        """Return what every row is conditioned on now, the negative row last."""
        return self.guide.at(self.plan.step(self.answered))

    def timestep(self) -> float:
        """Return the network's (fractional) timestep for the noise level waited on."""
        return self.plan.timestep(self.sigma)

    def latents(self) -> Tensor:
        """Return what the table asks about, or has come to: a copy, C x h x w."""
        return self.pool.latents([self.place])[0]

    def seen(self, x: Tensor) -> Tensor:
        """Return what the network sees of the table's question x, C x h x w: what is kept is there
        at the present noise level, except at the first question (see `painting`).
        """
        return self._with_kept(x, self.sigma) if self.answered else x

    def answer(self, denoised: Tensor) -> None:
        """Give it its estimate alone, C x h x w on any device; it is taken to be finite."""
        place = self.place
        there = upload(self.pool.pool.device, denoised)[0] if denoised.is_cpu else denoised
        self.pool.answer([place], there[None])
        self.take(there)
        self.verified = self.answered

    def take(self, denoised: Tensor) -> None:
        """Go on from an estimate (C x h x w, not written to later) that its pool was given."""
        self.answered += 1
        if self.plan.stopped:
            # A copy: the batch that it is a part of goes.
            self.answers.append(denoised.clone())
        self.denoised = self._with_kept(denoised, 0.0)
        if self.answered < self.plan.evaluations:
            return
        # See `Painting` for which of the two is the picture.
        self._end = (
            self.denoised
            if self.plan.stopped
            else self._with_kept(self.latents() * self.plan.end_scale, 0.0)
        )
        self.close()

    def close(self) -> None:
        """Give its slot back; it asks nothing more."""
        if self.slot is not None:
            slot, self.slot = self.slot, None
            self.pools.drop(self.pool, slot)

    def _with_kept(self, x: Tensor, sigma: float) -> Tensor:
        return x if self.kept is None else self.kept.at(x, sigma)


AnyPainting: TypeAlias = Painting | SlotPainting


@contextmanager
def closed_on_failure(paintings: Sequence[AnyPainting]) -> Iterator[None]:
    """Close paintings, those added meanwhile included, when the block fails or is abandoned."""
    try:
        yield
    except BaseException:
        for painting in paintings:
            painting.close()
        raise
