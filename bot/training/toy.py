"""`easel train toy`: diffusion of points on a plane, trained and filmed in under a minute."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bot.training.app import train

_TOY_POINTS = 1200


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
