"""`easel train describer`: teach a model to say what pictures show, and measure how well."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot.exits import CONFIG, INTERRUPTED
from bot.training.app import train
from bot.training.bars import bar
from bot.training.watched import counting, stoppable, this_command

if TYPE_CHECKING:
    from diffusion.train.data import Pixels
    from diffusion.train.describer.lesson import Lesson
    from diffusion.train.describer.measure import Line
    from diffusion.train.describer.training import DescriberTrainer

_WIDEST = 160
_MODEL = "The model's folder or name: the describer is written, or read, beside its weights."


@train.command()
def describer(
    folder: Annotated[Path, typer.Option(help="The workshop: data set, state.")] = Path("training"),
    preset: Annotated[str, typer.Option(help="What the model was taught: cpu, gpu, tiny.")] = "cpu",
    minutes: Annotated[
        float, typer.Option(min=0, help="Stop after this long; the same command goes on.")
    ] = 20,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch's choice.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 40,
    model: Annotated[str, typer.Option(help=_MODEL)] = "model",
    measure: Annotated[bool, typer.Option("--measure", help="Measure; train nothing.")] = False,
    painted: Annotated[int, typer.Option(min=0, help="Names the model paints to look at.")] = 100,
) -> None:
    """Train what /describe uses, on the drawings the model may see; measure it on the others."""
    from diffusion.errors import DiffusionError
    from diffusion.train.data import DataError
    from diffusion.train.describer.measure import NOTES
    from diffusion.train.run import use_threads

    if threads:
        use_threads(threads)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        lesson, art = _lesson(folder, preset)
        home = _home(model)
        if not measure:
            trainer = _train(lesson, art, folder / f"run-{preset}", minutes, seed, console)
            _write(trainer, home)
        lines = _measured(lesson, art, home, painted)
        if not measure:
            _write(trainer, home, lines)
    except (DataError, DiffusionError) as error:
        Console(highlight=False, soft_wrap=True, stderr=True).print(str(error), markup=False)
        raise typer.Exit(CONFIG) from None
    _print(lines, NOTES)


def _lesson(folder: Path, preset: str) -> "tuple[Lesson, Pixels]":
    """Return what is learned and measured, and the pixels of it."""
    from diffusion.describe_network import DESCRIBER_SIZE
    from diffusion.train.data import DataError, known_names, read_art, read_index
    from diffusion.train.describer.lesson import make_lesson
    from diffusion.train.presets import PRESETS

    if preset not in PRESETS:
        raise typer.BadParameter(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    taught = PRESETS[preset]
    try:
        rows = read_index(folder / "art")
        art = read_art(folder / "art", DESCRIBER_SIZE)
    except DataError as error:
        raise DataError(f"{error} Run: easel train data --folder {folder}") from error
    known = known_names() if taught.names == "known" else None
    return make_lesson(rows, painted=taught.styles, known=known), art


def _home(model: str) -> Path:
    """Return the folder of a model, whether it is there already or not."""
    from diffusion.errors import UnknownModelError
    from diffusion.info import model_path

    try:
        found = model_path(model)
    except UnknownModelError:
        return Path(model)
    if not found.is_dir():
        raise typer.BadParameter(f"{found} is a file; a describer lies in a model's folder")
    return found


def _train(
    lesson: "Lesson", art: "Pixels", run: Path, minutes: float, seed: int, console: Console
) -> "DescriberTrainer":
    """Train behind a bar; Ctrl-C ends the command with the state saved."""
    from diffusion.train.describer.training import (
        DescriberRecipe,
        DescriberTrainer,
        train_describer,
    )
    from diffusion.train.precision import choose_precision

    recipe = DescriberRecipe(seed=seed)
    trainer = DescriberTrainer(lesson, art, run, recipe, precision=choose_precision("cpu"))
    with bar("describer", recipe.samples) as report, stoppable(console, None) as stop:
        train_describer(
            trainer, minutes=minutes, report=lambda state: report("describer", state), stop=stop
        )
    if stop.asked:
        console.print(f"Go on with: {this_command()}")
        raise typer.Exit(INTERRUPTED)
    if not trainer.finished:
        console.print(f"The time is up; train it on with: {this_command()}")
    return trainer


def _write(trainer: "DescriberTrainer", home: Path, lines: "Sequence[Line]" = ()) -> None:
    from diffusion.info import DESCRIBER_NAME
    from diffusion.train.describer.file import export_describer
    from diffusion.train.describer.measure import figures_of

    export_describer(trainer, home / DESCRIBER_NAME, figures_of(lines))


def _measured(lesson: "Lesson", art: "Pixels", home: Path, painted: int) -> "tuple[Line, ...]":
    """Measure the describer in a model's folder; the model paints where there is one."""
    from diffusion.describe import load_describer
    from diffusion.info import CONFIG_NAME, DESCRIBER_NAME
    from diffusion.loading import load_model
    from diffusion.train.describer.measure import measure_describer

    found = load_describer(home / DESCRIBER_NAME)
    paints = painted and (home / CONFIG_NAME).is_file()
    painter = load_model(home) if paints else None
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    with counting(console, "measuring") as report:
        return measure_describer(found, lesson, art, model=painter, painted=painted, report=report)


def _print(lines: "Sequence[Line]", notes: Sequence[str]) -> None:
    from diffusion.train.describer.measure import COLUMNS

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDEST
    table = Table(caption="\n".join(notes), caption_justify="left")
    for i, head in enumerate(COLUMNS):
        table.add_column(head, overflow="fold", no_wrap=i > 0)
    for line in lines:
        table.add_row(*line.cells())
    console.print(table)
