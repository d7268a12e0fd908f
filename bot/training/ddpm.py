"""`easel train ddpm`: the simplest complete diffusion system, in pixel space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bot.exits import CONFIG, INTERRUPTED
from bot.training.app import train
from bot.training.watched import stoppable, this_command

if TYPE_CHECKING:
    from diffusion.train.ddpm.training import Trainer
    from diffusion.train.state import Progress

_SIZE = 32
# Where no bar can be seen, a line after so many steps.
_LINE_EVERY = 500
_ART = "The workshop: the data set that `easel train data` builds."
_OUT = "State, loss curve, sheet and model; else <folder>/ddpm."
_PICTURES = "Learn the pictures of this folder instead."


@train.command()
def ddpm(
    folder: Annotated[Path, typer.Option(help=_ART)] = Path("training"),
    style: Annotated[str, typer.Option(help="Style of the drawings.")] = "twemoji",
    names: Annotated[str, typer.Option(help="Which drawings: known or all.")] = "known",
    pictures: Annotated[Path | None, typer.Option(help=_PICTURES)] = None,
    mirror: Annotated[bool, typer.Option(help="Whether --pictures may be mirrored.")] = True,
    minutes: Annotated[
        float, typer.Option(min=0, help="Stop after this long; the same command goes on.")
    ] = 20,
    out: Annotated[Path | None, typer.Option(help=_OUT)] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Steps of the sheet.")] = 250,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
) -> None:
    """Train an unconditional model of 32 x 32 pictures (Ho et al. 2020) and paint with it."""
    from diffusion.device import choose_device
    from diffusion.errors import DiffusionError
    from diffusion.train.data import DataError
    from diffusion.train.ddpm.pictures import read_drawings, read_pictures
    from diffusion.train.ddpm.sheet import sample_sheet
    from diffusion.train.ddpm.training import DDPMRecipe, Trainer
    from diffusion.train.precision import choose_precision

    console = Console(highlight=False, soft_wrap=True, markup=False)
    home, device = out or folder / "ddpm", choose_device().device
    try:
        if pictures is None:
            learned = read_drawings(folder / "art", _SIZE, styles=(style,), names=names)
        else:
            learned, warnings = read_pictures(pictures, _SIZE, mirror=mirror)
            console.print(*warnings, sep="\n", end="\n" if warnings else "")
        trainer = Trainer(
            learned,
            home,
            DDPMRecipe(seed=seed),
            device=device,
            precision=choose_precision(device),
        )
        stopped = _train(trainer, home, minutes, console)
    except (DataError, DiffusionError) as error:
        console.print(str(error))
        raise typer.Exit(CONFIG) from None
    if stopped:
        console.print(f"Stopped; all is kept in {home}. Go on with: {this_command()}")
        raise typer.Exit(INTERRUPTED)
    sample_sheet(home / "model", learned, home / "sheet.png", steps=steps, seed=seed)
    console.print(f"{home / 'sheet.png'}: sixteen pictures by {steps} steps of Algorithm 2")
    console.print(f"{home / 'model'} is a model like any other: name it in config.toml")


def _train(trainer: "Trainer", home: Path, minutes: float, console: Console) -> bool:
    """Train, write the model and the curve, and say so; return whether Ctrl-C ended it."""
    from rich.progress import Progress as Bar

    from diffusion.train.charts import loss_curve
    from diffusion.train.ddpm.folder import write_folder
    from diffusion.train.ddpm.training import train_ddpm

    progress, seen = trainer.progress, console.is_terminal
    before = progress.seconds
    with stoppable(console, None) as stop, Bar(console=console, disable=not seen) as bar:
        task = bar.add_task("training", total=60.0 * minutes)

        def report(now: "Progress") -> None:
            loss = f", loss {now.log[-1]['loss']:.4f}" if now.log else ""
            told = f"{now.samples} samples{loss}"
            bar.update(task, completed=now.seconds - before, description=told)
            if not seen and now.steps % _LINE_EVERY == 0:
                console.print(f"{told}, {now.seconds:.0f} s")

        network = train_ddpm(trainer, minutes=minutes, report=report, stop=stop)
    write_folder(home / "model", network)
    loss_curve(progress.log, home / "loss.png", title="Denoising diffusion in pixel space")
    last = f"loss {progress.log[-1]['loss']:.4f}" if progress.log else "no loss noted yet"
    console.print(
        f"{len(trainer.pictures.pixels)} pictures, {progress.samples} samples in "
        f"{progress.seconds:.0f} s ({trainer.precision} on {trainer.device}), {last}; "
        f"{home / 'loss.png'}"
    )
    return stop.asked
