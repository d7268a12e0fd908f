"""`easel train evaluate`: the honest table about a model, and the sheet that goes with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot.exits import CONFIG
from bot.training.app import train

if TYPE_CHECKING:
    from diffusion.train.evaluate import Evaluation, Report, Sizes

_FOLDER = Path("training")
_WIDEST = 160


@train.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A shipped model, a folder or a file.")] = "emoji",
    folder: Annotated[Path, typer.Option(help="The workshop with the data set.")] = _FOLDER,
    prompts: Annotated[int, typer.Option(min=2, help="Most prompts of a kind.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts, pictures and intervals.")] = 7,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; none: the workshop.", file_okay=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="20 prompts, within a minute.")] = False,
) -> None:
    """Measure a model: names, styles, colours, pairs, counts, synonyms, copies.

    Prints the table and writes evaluation.json, evaluation.md and evaluation.png.
    """
    from diffusion.train.evaluate import Sizes, save_sheet, to_json, to_markdown

    sizes = Sizes.quick() if quick else Sizes(prompts=prompts, others=prompts)
    target = folder if out is None else out
    if out is not None:
        _make(out)
    found = _evaluate(model, folder, sizes, seed)
    (target / "evaluation.json").write_text(to_json(found.report), encoding="utf-8")
    (target / "evaluation.md").write_text(to_markdown(found.report), encoding="utf-8")
    save_sheet(found.sections, target / "evaluation.png")
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDEST
    console.print(_table(found.report))
    console.print(f"Written: {target / 'evaluation.json'}, .md and .png.", soft_wrap=True)


def _make(folder: Path) -> None:
    """Make the folder for the results before hours are spent on them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}", param_hint="--out") from None


def _evaluate(model: str, folder: Path, sizes: "Sizes", seed: int) -> "Evaluation":
    """Evaluate behind a progress bar; a fault that can be mended ends with a sentence."""
    from rich.progress import Progress

    from diffusion import DiffusionError
    from diffusion.device import choose_device
    from diffusion.train.data import DataError
    from diffusion.train.evaluate import EvaluationError, evaluate
    from diffusion.train.judge import JudgeError

    device = choose_device()
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        with Progress(console=errors, transient=True) as bar:
            task = bar.add_task("loading", total=None)
            return evaluate(
                model,
                folder,
                sizes=sizes,
                seed=seed,
                device=device.device,
                dtype=device.dtype,
                report=lambda what, done, total: bar.update(
                    task, description=what, completed=done, total=total
                ),
            )
    except (DataError, DiffusionError, EvaluationError, JudgeError) as error:
        errors.print(str(error))
        raise typer.Exit(CONFIG) from None


def _table(report: "Report") -> Table:
    from diffusion.train.evaluate.table import COLUMNS, NOTES

    table = Table(title=report.title, title_justify="left", caption="\n".join(NOTES))
    table.caption_justify = "left"
    for i, head in enumerate(COLUMNS):
        # Names and reasons may take several lines; figures never.
        table.add_column(head, overflow="fold", no_wrap=head in COLUMNS[3:-1] or i == 1)
    for line in report.lines:
        table.add_row(*line.cells())
    return table
