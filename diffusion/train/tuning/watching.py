"""Sheets, curves and the end of a run: what `go_on` is watched by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diffusion.train.buckets import Placed
from diffusion.train.state import Progress
from diffusion.train.tuning.begin import Opened
from diffusion.train.tuning.sheets import chosen, keep, paint, write_curve, write_sheet
from diffusion.train.tuning.tune import Run, go_on, notes_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Painter:
    """Paints some captions before the first step, `times` times on the way and at the end, and
    draws the loss. count: captions painted, 0 for none. stepped, stops: as in `tune.Watcher`.
    """

    run: Run
    placed: Sequence[Placed]
    count: int = 4
    times: int = 4
    on_step: Callable[[Progress, float], None] = field(default=lambda progress, loss: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)

    def stepped(self, progress: Progress, loss: float) -> None:
        """Hand on a step."""
        self.on_step(progress, loss)

    def stops(self) -> bool:
        """Ask whether to stop."""
        return self.should_stop()

    def pictured(self, progress: Progress) -> None:
        """Paint and draw when it is time for it."""
        total = self.run.recipe.steps
        every = max(1, total // max(1, self.times))
        if progress.steps % every and progress.steps != total:
            return
        folder = self.run.place.folder
        write_curve(folder / "loss.png", progress.log, self.run.place.out.stem)
        if not self.count:
            return
        shown = chosen(self.placed, self.count)
        with self.run.averaged():
            model = self.run.trained.for_painting(self.run.subject.model, folder)
            prompts = [self.run.trained.worded(one.picture.caption) for one in shown]
            pictures = paint(model, prompts, [one.bucket for one in shown])
        keep(folder / "samples", progress.steps, pictures)
        write_sheet(folder / "samples.png", folder / "samples", shown)


def finish(run: Run, pictures: Path) -> Path:
    """Write the result of a run whose steps are all made."""
    return run.trained.write(run.place.out, run.weights, notes_of(run, pictures))


def complete(opened: Opened, painter: Painter, pictures: Path) -> Path | None:
    """Train to the end and write the result; None when the painter stopped it before."""
    return finish(opened.run, pictures) if go_on(opened.run, painter) else None
