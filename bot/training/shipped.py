"""`easel train data|vae|denoiser|decoder|export`: make the shipped model again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bot.exits import CONFIG, INTERRUPTED
from bot.training.app import train
from bot.training.bars import bar
from bot.training.tune import train_pictures
from bot.training.watched import Stop, stoppable, this_command

if TYPE_CHECKING:
    from diffusion.train.run import Report, Workshop

Folder = Annotated[Path, typer.Option(help="The workshop: data set, states, sheets.")]
Preset = Annotated[str, typer.Option(help="cpu, gpu or tiny.")]
Minutes = Annotated[float, typer.Option(help="Stop after this long; the same command goes on.")]
Threads = Annotated[int, typer.Option(help="CPU threads inside operators; 0: torch's choice.")]
Start = Annotated[str, typer.Option(help="A model to begin with, in place of random weights.")]
_FOLDER = Path("training")


@train.command()
def data(folder: Folder = _FOLDER) -> None:
    """Fetch the openly licensed emoji art from npm and build the data set (about 3 minutes)."""
    from diffusion.train.data import build, counts
    from diffusion.train.packages import PackagesError

    console = Console(highlight=False)
    try:
        rows = build(folder / "art", folder / "packages")
    except PackagesError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(CONFIG) from None
    console.print(f"{len(rows)} drawings: {counts(rows)}", markup=False)


@train.command()
def vae(
    folder: Folder = _FOLDER,
    preset: Preset = "cpu",
    minutes: Minutes = 60,
    threads: Threads = 1,
    start: Start = "",
) -> None:
    """Train the autoencoder."""
    from diffusion.train.run import run_vae

    workshop = _workshop(folder, preset, threads)
    with _told_errors(), _run("vae", workshop.preset.vae.total_samples) as (report, stop):
        run_vae(workshop, minutes=minutes, report=report, start=start or None, stop=stop)


@train.command()
def decoder(
    folder: Folder = _FOLDER, preset: Preset = "cpu", minutes: Minutes = 15, threads: Threads = 1
) -> None:
    """Sharpen the decoder alone; the latents, and so the denoiser, stay valid."""
    from diffusion.train.run import run_decoder

    workshop = _workshop(folder, preset, threads)
    with _run("decoder", workshop.preset.vae.total_samples) as (report, stop):
        run_decoder(workshop, minutes=minutes, report=report, stop=stop)


@train.command()
def denoiser(
    folder: Folder = _FOLDER,
    preset: Preset = "cpu",
    minutes: Minutes = 120,
    threads: Threads = 1,
    start: Start = "",
    pictures: Annotated[
        Path | None, typer.Option(help="Learn a folder of captioned pictures instead.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="With --pictures: full, scratch or lora, with its usual settings.")
    ] = "full",
) -> None:
    """Train the text encoder and the U-Net; ends with a sheet of samples, sheet.png.

    With --pictures as `finetune` and `lora` do, which have all the settings.
    """
    if pictures is not None:
        if method not in ("full", "scratch", "lora"):
            raise typer.BadParameter(f"method {method!r}; there are full, scratch and lora")
        train_pictures(pictures, method=method, model=start or "emoji", minutes=minutes)
        return
    from diffusion.train.run import paint_sheet, run_denoiser

    workshop = _workshop(folder, preset, threads)
    total = workshop.preset.denoiser.total_samples
    with _told_errors(), _run("denoiser", total) as (report, stop):
        run_denoiser(workshop, minutes=minutes, report=report, start=start or None, stop=stop)
    paint_sheet(workshop)


@train.command()
def export(folder: Folder = _FOLDER, preset: Preset = "cpu", out: Path = Path("model")) -> None:
    """Write the model's files and a sheet of samples into a folder."""
    from diffusion.train.run import run_export, run_thesaurus, sample_sheet

    workshop = _workshop(folder, preset, 0)
    with _told_errors():
        run_export(workshop, out)
        run_thesaurus(workshop, out)
    sample_sheet(out, out.parent / f"{out.name}-sheet.png")


def _workshop(folder: Path, preset: str, threads: int) -> "Workshop":
    from diffusion.device import choose_device
    from diffusion.train.run import open_workshop, use_threads

    if threads:
        use_threads(threads)
    try:
        return open_workshop(folder, preset, device=choose_device().device)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0])) from None


@contextmanager
def _run(part: str, total: int) -> Iterator[tuple["Report", Stop]]:
    """Show a bar, and let Ctrl-C end the run, and the command, with its state saved."""
    console = Console(highlight=False, soft_wrap=True)
    with bar(part, total) as report, stoppable(console, None) as stop:
        yield report, stop
    if stop.asked:
        console.print(f"Go on with: {this_command()}", markup=False)
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _told_errors() -> Iterator[None]:
    """End with a sentence where a model or the data set does not fit."""
    from diffusion.errors import DiffusionError
    from diffusion.train.data import DataError
    from diffusion.train.packages import PackagesError

    try:
        yield
    except (DiffusionError, DataError, PackagesError) as error:
        Console(highlight=False, soft_wrap=True, stderr=True).print(str(error), markup=False)
        raise typer.Exit(CONFIG) from None
