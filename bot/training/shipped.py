"""`easel train`: make the shipped model again, each part one resumable command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from diffusion.train.run import Workshop
    from diffusion.train.state import Progress

train = typer.Typer(help="Make the shipped model again (or a smaller one).", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="The workshop: data set, states, sheets.")]
Preset = Annotated[str, typer.Option(help="cpu, gpu or tiny.")]
Minutes = Annotated[float, typer.Option(help="Stop after this long; the same command goes on.")]
Threads = Annotated[int, typer.Option(help="CPU threads inside operators; 0: torch's choice.")]
_FOLDER = Path("training")
_TOY_POINTS = 1200


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
        raise typer.Exit(78) from None
    console.print(f"{len(rows)} drawings: {counts(rows)}", markup=False)


@train.command()
def vae(
    folder: Folder = _FOLDER, preset: Preset = "cpu", minutes: Minutes = 60, threads: Threads = 1
) -> None:
    """Train the autoencoder."""
    from diffusion.train.run import run_vae

    run_vae(_workshop(folder, preset, threads), minutes=minutes, report=_report)


@train.command()
def decoder(
    folder: Folder = _FOLDER, preset: Preset = "cpu", minutes: Minutes = 15, threads: Threads = 1
) -> None:
    """Sharpen the decoder alone; the latents, and so the denoiser, stay valid."""
    from diffusion.train.run import run_decoder

    run_decoder(_workshop(folder, preset, threads), minutes=minutes, report=_report)


@train.command()
def denoiser(
    folder: Folder = _FOLDER, preset: Preset = "cpu", minutes: Minutes = 120, threads: Threads = 1
) -> None:
    """Train the text encoder and the U-Net; ends with a sheet of samples, sheet.png."""
    from diffusion.train.run import run_denoiser, run_export, sample_sheet

    workshop = _workshop(folder, preset, threads)
    run_denoiser(workshop, minutes=minutes, report=_report)
    run_export(workshop, workshop.run / "model")
    sample_sheet(workshop.run / "model", workshop.run / "sheet.png")


@train.command()
def export(folder: Folder = _FOLDER, preset: Preset = "cpu", out: Path = Path("model")) -> None:
    """Write the model's files and a sheet of samples into a folder."""
    from diffusion.train.run import run_export, sample_sheet

    run_export(_workshop(folder, preset, 0), out)
    sample_sheet(out, out.parent / f"{out.name}-sheet.png")


@train.command()
def score(
    model: str = "emoji",
    folder: Folder = _FOLDER,
    prompts: int = 100,
    preset: Preset = "cpu",
    held_out: Annotated[bool, typer.Option("--held-out", help="Pairs never trained.")] = False,
) -> None:
    """Let the judge name pictures of trained prompts among 100; print the score as JSON."""
    from diffusion.train.run import score_model

    told = score_model(_workshop(folder, preset, 0), model, prompts=prompts, held_out=held_out)
    Console(highlight=False, markup=False, soft_wrap=True).print(told)


@train.command()
def toy(
    out: Annotated[Path, typer.Option(help="The animation, .webp or .gif.")] = Path("toy.webp"),
    shape: Annotated[str, typer.Option(help="heart, spiral, smile, star or easel.")] = "heart",
    sampler: Annotated[str, typer.Option(help="ddpm, ddim, euler, …: as in a prompt.")] = "ddpm",
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Steps of the sampler.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
) -> None:
    """Train a diffusion model of points on a plane, in under a minute, and film both processes."""
    from rich.progress import Progress as Bar

    from diffusion.samplers import SAMPLERS
    from diffusion.train.film import film, strip
    from diffusion.train.shapes import SHAPES
    from diffusion.train.toy import (
        ToyRecipe,
        distance,
        forward_process,
        reverse_process,
        train_toy,
    )

    for name, known in ((shape, SHAPES), (sampler, SAMPLERS)):
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not known; there are {', '.join(known)}")
    if out.suffix not in (".webp", ".gif"):
        raise typer.BadParameter(f"{out} must end in .webp or .gif")
    console = Console(highlight=False, soft_wrap=True)
    recipe = ToyRecipe(shape=shape, seed=seed)
    with Bar(console=console) as bar:
        task = bar.add_task("training", total=recipe.steps)
        model = train_toy(recipe, lambda step, _: bar.update(task, completed=step))
    reverse = reverse_process(model, _TOY_POINTS, sampler=sampler, steps=steps)
    forward = forward_process(model, _TOY_POINTS, len(reverse))
    film(forward, reverse, out)
    strip(reverse, out.with_suffix(".png"))
    apart = [distance(points, model.learned) for points in (reverse[-1], forward[0], reverse[0])]
    console.print(
        f"{out} and {out.with_suffix('.png')}: loss {model.losses[-1]:.3f}; mean distance between "
        f"drawn and learned points {apart[0]:.3f} (as many learned ones {apart[1]:.3f}, "
        f"noise {apart[2]:.3f})",
        markup=False,
    )


def _workshop(folder: Path, preset: str, threads: int) -> "Workshop":
    from diffusion.device import choose_device
    from diffusion.train.run import open_workshop, use_threads

    if threads:
        use_threads(threads)
    try:
        return open_workshop(folder, preset, device=choose_device().device)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0])) from None


def _report(part: str, progress: "Progress") -> None:
    console = Console(highlight=False, soft_wrap=True)
    last = progress.log[-1]
    console.print(
        f"{part}: {progress.samples} samples, {progress.seconds:.0f} s, loss {last['loss']:.4f}"
    )
