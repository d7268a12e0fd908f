"""How far a training run has come, for a person: a bar in a terminal, lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from diffusion.train.state import Progress as State


@contextmanager
def bar(part: str, total: int) -> "Iterator[Callable[[str, State], None]]":
    """Show a run of `total` samples; yields what is called with its part's name and progress."""
    console = Console(highlight=False, soft_wrap=True)

    def line(name: str, state: "State") -> None:
        console.print(f"{name}: {_told(state, total)}", markup=False)

    if not console.is_terminal:
        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(part, total=total, told="")

        def move(name: str, state: "State") -> None:
            told = _told(state, total)
            progress.update(task, description=name, completed=state.samples, told=told)

        yield move


def _told(state: "State", total: int) -> str:
    speed = f", {state.samples / state.seconds:.0f}/s" if state.seconds else ""
    loss = f", loss {state.log[-1]['loss']:.4f}" if state.log else ""
    return f"{state.samples} of {total} samples, {state.seconds:.0f} s{speed}{loss}"
