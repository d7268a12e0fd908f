"""After running out of memory: what the failed try held is gone before room is made.

An exception keeps the frames it came through, and these their tensors: whoever recovers inside the
`except` block empties a cache that is still in use.
"""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from diffusion import Params, Step, machine
from diffusion.job import Job
from diffusion.machine import Machine
from diffusion.pace import Pace
from diffusion.preparing import decode
from tests.test_diffusion_engine import Backbone
from tests.tiny import tiny_model

PARAMS = Params(prompt="a red heart", seed=5, steps=2, width=32, height=32, guidance_scale=3.0)


class Shortage:
    """Runs out of memory once, with a large tensor in hand, and watches when that is let go."""

    def __init__(self, *, kept: bool) -> None:
        self.kept: list[BaseException] | None = [] if kept else None
        self.alive_when_room_was_made: list[bool] = []
        self._held: weakref.ref[Tensor] | None = None

    def happen(self) -> None:
        """Fail, the first time."""
        try:
            self._fail()
        except torch.OutOfMemoryError as error:
            if self.kept is not None:
                self.kept.append(error)
            raise

    def _fail(self) -> None:
        if self._held is not None:
            return
        activations = torch.zeros(1000)
        self._held = weakref.ref(activations)
        # A name for it here would be a circle, which only the collector opens.
        raise torch.OutOfMemoryError("does not fit")

    def empty_cache(self) -> None:
        """Stand for what gives the device's memory back."""
        self.alive_when_room_was_made.append(self._held is not None and self._held() is not None)


def paint(working: Machine) -> list[Step]:
    """Work until nothing is left; return the steps that came."""
    found = []
    while working.busy:
        found += [answer for _, answer in working.tick() if isinstance(answer, Step)]
    return found


@pytest.mark.parametrize("where", ["pass", "decoding"])
@pytest.mark.parametrize("deterministic", ["strict", "fast"])
@pytest.mark.parametrize("kept", [False, True], ids=["as it is", "the error is kept"])
def test_nothing_is_held_when_room_is_made(
    where: str,
    deterministic: Literal["strict", "fast"],
    kept: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shortage = Shortage(kept=kept)
    monkeypatch.setattr(machine, "_empty_cache", shortage.empty_cache)
    # All pictures in one pass, however long rows take: then a smaller pass is left to try.
    monkeypatch.setattr(Pace, "cap", lambda _self, _kind, most: most)
    backbone = Backbone(tiny_model().backbone)
    model = replace(tiny_model(), backbone=backbone)  # type: ignore[arg-type]
    if where == "pass":
        backbone.fault = _after(shortage)
    else:
        monkeypatch.setattr(machine, "decode", _decoding(shortage))
    working = Machine(max_batch=16, deterministic=deterministic)
    working.add(model, PARAMS)
    steps = paint(working)
    assert steps[-1].pictures is not None
    assert shortage.alive_when_room_was_made == [kept]


def _after(shortage: Shortage) -> Callable[[Tensor, Tensor], Tensor]:
    def fault(x: Tensor, output: Tensor) -> Tensor:
        shortage.happen()
        return output

    return fault


def _decoding(shortage: Shortage) -> Callable[[Job, int, int], Iterator[None]]:
    def short(job: Job, index: int, tile: int) -> Iterator[None]:
        shortage.happen()
        yield from decode(job, index, tile)

    return short
