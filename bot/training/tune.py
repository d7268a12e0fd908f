"""`easel train lora|finetune|inversion|autoencoder DIR`: teach a model a folder of pictures.

Promises: everything that is wrong with folder, model or numbers is told before the first step; the
same command goes on after any stop. Never imports torch before a command runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bot.exits import CONFIG
from bot.training.app import train
from bot.training.watched import counting, stepping, stoppable, this_command

if TYPE_CHECKING:
    from diffusion.train.tuning.begin import Opened, Wish

Pictures = Annotated[Path, typer.Argument(help="Pictures with captions: see README, Training.")]
ModelName = Annotated[str, typer.Option("--model", help="What to start from: name, folder, file.")]
Out = Annotated[Path | None, typer.Option(help="The result; its states lie in a folder beside it.")]
Steps = Annotated[int | None, typer.Option(help="Steps in all; left out: what suits the model.")]
Batch = Annotated[int | None, typer.Option(help="Pictures a step.")]
Rate = Annotated[float | None, typer.Option("--rate", help="The learning rate.")]
Warmup = Annotated[int | None, typer.Option(help="Steps until the rate is reached.")]
Decay = Annotated[str | None, typer.Option(help="How the rate falls: cosine, constant.")]
Gamma = Annotated[float | None, typer.Option(help="Of min-SNR weighting; 0: none.")]
Dropout = Annotated[float | None, typer.Option(help="Share of captions left out.")]
Average = Annotated[float | None, typer.Option(help="Decay of averaged weights; 0: none.")]
Mirror = Annotated[bool, typer.Option("--mirror", help="Learn the mirrored pictures, too.")]
Side = Annotated[int | None, typer.Option(help="Pixels a side to learn at; left out: native.")]
Text = Annotated[bool | None, typer.Option("--text/--no-text", help="Train the text encoder too.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
Vae = Annotated[Path | None, typer.Option(help="An autoencoder to use instead of the model's.")]
Samples = Annotated[int, typer.Option(min=0, max=16, help="Captions painted on the way; 0: none.")]
Minutes = Annotated[float | None, typer.Option(help="Stop after this long; go on with the same.")]


@train.command()
def lora(
    pictures: Pictures, model: ModelName = "emoji", out: Out = None, steps: Steps = None,
    batch: Batch = None, rate: Rate = None, warmup: Warmup = None, decay: Decay = None,
    gamma: Gamma = None, dropout: Dropout = None, average: Average = None, mirror: Mirror = False,
    rank: Annotated[int | None, typer.Option(help="Of the change; files grow with it.")] = None,
    alpha: Annotated[float | None, typer.Option(help="The change is times alpha / rank.")] = None,
    convolutions: Annotated[
        bool, typer.Option("--convolutions", help="Change residual blocks, too.")
    ] = False,
    side: Side = None, text: Text = None, seed: Seed = 0, device: Device = "auto", vae: Vae = None,
    samples: Samples = 4, minutes: Minutes = None,
) -> None:  # fmt: skip
    """Learn a style as a small file beside the model: <lora:name:0.8> in prompts."""
    given = {
        "steps": steps, "batch": batch, "learning_rate": rate, "warmup": warmup, "decay": decay,
        "gamma": gamma, "dropout": dropout, "average": average, "mirror": mirror, "rank": rank,
        "alpha": alpha if alpha is not None or rank is None else float(rank),
        "convolutions": convolutions, "text": text, "side": side, "seed": seed,
    }  # fmt: skip
    train_pictures(
        pictures, method="lora", model=model, out=out, given=given, device=device, vae=vae,
        samples=samples, minutes=minutes,
    )  # fmt: skip


@train.command()
def finetune(
    pictures: Pictures, model: ModelName = "emoji", out: Out = None, steps: Steps = None,
    batch: Batch = None, rate: Rate = None, warmup: Warmup = None, decay: Decay = None,
    gamma: Gamma = None, dropout: Dropout = None, average: Average = None, mirror: Mirror = False,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Forget what the model knows: learn from nothing.")
    ] = False,
    side: Side = None, text: Text = None, seed: Seed = 0, device: Device = "auto", vae: Vae = None,
    samples: Samples = 4, minutes: Minutes = None,
) -> None:  # fmt: skip
    """Train all weights of a model; the result is a model of its own."""
    given = {
        "steps": steps, "batch": batch, "learning_rate": rate, "warmup": warmup, "decay": decay,
        "gamma": gamma, "dropout": dropout, "average": average, "mirror": mirror, "text": text,
        "side": side, "seed": seed,
    }  # fmt: skip
    train_pictures(
        pictures, method="scratch" if scratch else "full", model=model, out=out, given=given,
        device=device, vae=vae, samples=samples, minutes=minutes,
    )  # fmt: skip


@train.command()
def inversion(
    pictures: Pictures,
    word: Annotated[str, typer.Option(help="The new word; the file is named after it.")],
    model: ModelName = "emoji", out: Out = None, steps: Steps = None, batch: Batch = None,
    rate: Rate = None, warmup: Warmup = None, decay: Decay = None, gamma: Gamma = None,
    mirror: Mirror = False,
    vectors: Annotated[int | None, typer.Option(help="How many the word has.")] = None,
    initial: Annotated[str | None, typer.Option(help="Words it starts from.")] = None,
    side: Side = None, seed: Seed = 0, device: Device = "auto", samples: Samples = 4,
    minutes: Minutes = None,
) -> None:  # fmt: skip
    """Teach the model a new word (textual inversion); its weights stay."""
    given = {
        "word": word, "steps": steps, "batch": batch, "learning_rate": rate, "warmup": warmup,
        "decay": decay, "gamma": gamma, "mirror": mirror, "vectors": vectors, "initial": initial,
        "side": side, "seed": seed,
    }  # fmt: skip
    train_pictures(
        pictures, method="inversion", model=model, out=out, given=given, device=device,
        samples=samples, minutes=minutes,
    )  # fmt: skip


@train.command()
def autoencoder(
    pictures: Pictures, model: ModelName = "emoji", out: Out = None, steps: Steps = None,
    batch: Batch = None, rate: Rate = None, warmup: Warmup = None, average: Average = None,
    mirror: Mirror = False,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Learn all of it from nothing; needs a new denoiser.")
    ] = False,
    side: Side = None, seed: Seed = 0, device: Device = "auto", vae: Vae = None,
    samples: Samples = 4, minutes: Minutes = None,
) -> None:  # fmt: skip
    """Sharpen the decoder of a model, or learn a new autoencoder from nothing."""
    given = {
        "steps": steps, "batch": batch, "learning_rate": rate, "warmup": warmup,
        "average": average, "mirror": mirror, "scratch": scratch, "side": side, "seed": seed,
    }  # fmt: skip
    train_autoencoder(
        pictures, model=model, out=out, given=given, device=device, vae=vae, samples=samples,
        minutes=minutes,
    )  # fmt: skip


def train_pictures(
    pictures: Path,
    *,
    method: str = "lora",
    model: str = "emoji",
    out: Path | None = None,
    given: Mapping[str, object] | None = None,
    device: str = "auto",
    vae: Path | None = None,
    samples: int = 4,
    minutes: float | None = None,
) -> None:
    """Train a LoRA, a word or all weights, with bars and sheets; `method` is one of
    `tuning.recipe.METHODS`, `given` the fields of its `Recipe` that are set (None: the default's).

    Ends the command with a sentence and code 78 where something is wrong.
    """
    from diffusion.errors import DiffusionError
    from diffusion.train.tuning.begin import Wish, recipe_for
    from diffusion.train.tuning.watching import Painter, complete

    console = Console(highlight=False, soft_wrap=True)
    try:
        recipe = recipe_for(model, method, _set(given))
        wish = Wish(
            pictures=pictures, model=model, recipe=recipe, out=out, vae=vae, device=_device(device)
        )
        opened = _open(console, wish)
        run = opened.run
        _tell(console, opened.told, opened.warnings)
        _tell_start(console, run.place.folder, run.progress.steps, recipe.steps)
        with (
            stoppable(console, minutes) as stop,
            stepping(console, recipe.steps, run.progress.steps) as on_step,
        ):
            painter = Painter(
                run=run, placed=opened.placed, count=samples, on_step=on_step, should_stop=stop
            )
            result = complete(opened, painter, pictures)
        if result is None:
            _tell_stop(console, run.progress.steps, recipe.steps, run.place.folder)
        else:
            _tell_end(console, method, result, run.place.folder)
    except DiffusionError as error:
        raise _ended(error) from None


def train_autoencoder(
    pictures: Path,
    *,
    model: str = "emoji",
    out: Path | None = None,
    given: Mapping[str, object] | None = None,
    device: str = "auto",
    vae: Path | None = None,
    samples: int = 4,
    minutes: float | None = None,
) -> None:
    """Train a first stage, with bars and sheets; `given` are the fields of `AutoencoderRecipe` that
    are set. Ends as `train_pictures` does.
    """
    from diffusion.errors import DiffusionError
    from diffusion.train.tuning.begin_autoencoder import autoencoder_recipe, open_autoencoder
    from diffusion.train.tuning.reconstructing import (
        Reconstructor,
        finish_autoencoder,
        quality,
    )
    from diffusion.train.tuning.tune import go_on

    console = Console(highlight=False, soft_wrap=True)
    try:
        recipe = autoencoder_recipe(model, _set(given))
        with counting(console, "reading") as reading:
            opened = open_autoencoder(
                pictures, model=model, recipe=recipe, out=out, vae=vae, device=_device(device),
                reading=reading,
            )  # fmt: skip
        run = opened.run
        _tell(console, opened.told, opened.warnings)
        before = quality(run)
        _tell_start(console, run.place.folder, run.progress.steps, recipe.steps)
        with (
            stoppable(console, minutes) as stop,
            stepping(console, recipe.steps, run.progress.steps) as on_step,
        ):
            done = go_on(
                run, Reconstructor(run=run, count=samples, on_step=on_step, should_stop=stop)
            )
        after = quality(run)
        console.print(f"Reconstructions: {before:.1f} dB at the start, {after:.1f} dB now.")
        if done:
            _tell_end(console, "autoencoder", finish_autoencoder(run), run.place.folder)
        else:
            _tell_stop(console, run.progress.steps, recipe.steps, run.place.folder)
    except DiffusionError as error:
        raise _ended(error) from None


def _open(console: Console, wish: "Wish") -> "Opened":
    from diffusion.train.tuning.begin import open_run

    with counting(console, "reading") as reading, counting(console, "encoding") as encoding:
        return open_run(wish, reading=reading, encoding=encoding)


def _set(given: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (given or {}).items() if value is not None}


def _device(wanted: str) -> str:
    from diffusion.device import choose_device

    return choose_device(wanted).device


def _tell(console: Console, told: Sequence[str], warnings: Sequence[str]) -> None:
    from diffusion.train.folder import shortened

    for line in told:
        console.print(line, markup=False)
    if warnings:
        console.print(shortened(warnings), markup=False)


def _tell_start(console: Console, folder: Path, done: int, steps: int) -> None:
    if done:
        console.print(f"Going on after step {done} of {steps}.")
    console.print(f"Curve, sheets and state: {folder}", markup=False)


def _tell_stop(console: Console, done: int, steps: int, folder: Path) -> None:
    told = f"Stopped after step {done} of {steps}; the state is in {folder}. This goes on from it:"
    console.print(f"{told}\n  {this_command()}", markup=False)


def _tell_end(console: Console, method: str, result: Path, folder: Path) -> None:
    use = {
        "lora": f"Lay it into the folder of LoRAs and write <lora:{result.stem}:0.8> in a prompt.",
        "inversion": f"Lay it into the folder of embeddings and write {result.stem} in a prompt.",
        "autoencoder": "Name it as the model's vae, or a folder as a model.",
    }.get(method, "Name it in [models.<alias>] to paint with it.")
    console.print(
        f"{result} is ready; what it learned is on {folder / 'samples.png'}.", markup=False
    )
    console.print(use, markup=False)


def _ended(error: Exception) -> typer.Exit:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(str(error))
    return typer.Exit(CONFIG)
