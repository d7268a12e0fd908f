"""The `easel train` group, to which every part adds its commands."""

import typer

train = typer.Typer(
    help="Teach a model pictures of yours, or make the shipped model again.", no_args_is_help=True
)
