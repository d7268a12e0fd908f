"""A training run on a terminal: bars, and stopping it without losing a step.

Promises: the first Ctrl-C (or SIGTERM) asks the run to save and stop after the step it is in, the
second ends it at once; what was there before is put back afterwards.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from diffusion.train.state import Progress as State


@dataclass(kw_only=True)
class Stop:
    """Whether a run should stop: it was asked to, or its minutes are over."""

    minutes: float | None = None
    asked: bool = False
    started: float = field(default_factory=time.monotonic)

    def __call__(self) -> bool:
        """Return whether to stop now."""
        over = self.minutes is not None and time.monotonic() - self.started >= 60 * self.minutes
        return self.asked or over


@contextmanager
def stoppable(console: Console, minutes: float | None) -> Iterator[Stop]:
    """Let Ctrl-C and SIGTERM stop a run gently; signals reach the main thread alone."""
    stop = Stop(minutes=minutes)

    def heard(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        console.print("Stopping: the state is saved after this step. Once more stops at once.")

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [(kind, signal.signal(kind, heard)) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in before:
            signal.signal(kind, handler)


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many things of how many are done, where somebody can see it."""
    with _bars(console) as bars:
        task = bars.add_task(what, total=None, told="")
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def stepping(console: Console, steps: int, done: int) -> "Iterator[Callable[[State, float], None]]":
    """Show steps, loss and speed: as a bar in a terminal, as twenty lines elsewhere."""
    begun, every = time.monotonic(), max(1, steps // 20)

    def told(state: "State", loss: float) -> str:
        seconds = max(time.monotonic() - begun, 1e-6)
        each = state.samples / max(1, state.steps)
        speed = (state.steps - done) * each / seconds
        return f"loss {loss:.4f}, {speed:.1f} pictures/s"

    if not console.is_terminal:

        def line(state: "State", loss: float) -> None:
            if state.steps % every == 0 or state.steps == steps:
                console.print(f"step {state.steps} of {steps}: {told(state, loss)}", markup=False)

        yield line
        return
    smooth: list[float] = []
    with _bars(console) as bars:
        task = bars.add_task("learning", total=steps, completed=done, told="")

        def move(state: "State", loss: float) -> None:
            smooth[:] = [loss if not smooth else 0.95 * smooth[0] + 0.05 * loss]
            bars.update(task, completed=state.steps, told=told(state, smooth[0]))

        yield move


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def this_command() -> str:
    """Return the command that is running, as it can be typed again."""
    words = [f'"{word}"' if not word or " " in word else word for word in sys.argv[1:]]
    return " ".join(["easel", *words])
