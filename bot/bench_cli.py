"""`easel bench`: without a command the bot's own figures, with one the engine's.

Promises: every command prints a table, one line of JSON, and where asked writes its rows as
Markdown; what cannot be measured ends with one sentence.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from bot.exits import CONFIG

if TYPE_CHECKING:
    from diffusion.bench.report import Report

bench = typer.Typer(
    help="Measure this machine: the bot (no command), or the engine (one command each).",
    no_args_is_help=False,
)

ModelOption = Annotated[str, typer.Option("--model", help="emoji, sd15, sd21 or sdxl.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
LatentOption = Annotated[
    int | None, typer.Option("--latent", min=1, help="Side in latent positions; none: by device.")
]
RoundsOption = Annotated[
    int, typer.Option("--rounds", min=1, help="How often the sides alternate.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="A file for the rows in Markdown.", dir_okay=False)
]
_WIDEST: Final = 160
_ALL: Final = ("solo", "rows", "tick", "load", "switch")


@bench.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure this machine: start, memory, acknowledgement, grid, event loop. A few minutes."""
    if context.invoked_subcommand is not None:
        return
    from bot.bench import measure_bot, measure_start, measure_store
    from bot.logs import configure

    configure(level="error", style="plain", stream=sys.stderr)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for measure in (measure_start, measure_store, measure_bot):
        for figure in asyncio.run(measure()):
            console.print(f"{figure.name}: {figure.value} (n = {figure.count})")


@bench.command()
def solo(
    model: ModelOption = "emoji",
    latent: LatentOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampler steps; none: its own.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="dpmpp_2m, euler or ddim; none: its own.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Also the peer with compiled blocks.")
    ] = False,
    memory: Annotated[bool, typer.Option(help="Also each side's peak memory.")] = True,
    rounds: RoundsOption = 5,
    device: DeviceOption = "auto",
    out: OutOption = None,
) -> None:
    """One job of four pictures against diffusers: time and peak memory."""

    def measure() -> "Report":
        from diffusion.bench.solo import solo

        return solo(
            model,
            latent=latent,
            steps=steps,
            sampler=sampler,
            rounds=rounds,
            device=device,
            compiled=compiled,
            memory=memory,
        )

    show(measure, out)


@bench.command()
def load(
    rate: Annotated[
        str, typer.Option("--rate", help="Shares of the capacity, with commas between.")
    ] = "0.5,0.7,0.95",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="How long people come, at each rate.")
    ] = 120.0,
    model: ModelOption = "emoji",
    latent: LatentOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of who comes when.")] = 1,
    peer: Annotated[bool, typer.Option(help="Also diffusers, one at a time.")] = True,
    shrink: Annotated[int, typer.Option(min=1, help="Divide everybody's steps.")] = 1,
    rounds: RoundsOption = 1,
    device: DeviceOption = "auto",
    out: OutOption = None,
) -> None:
    """Many people: Poisson arrivals to Easel, to one at a time, to diffusers."""

    def measure() -> "Report":
        from diffusion.bench.load import Workload, load

        workload = Workload(
            rates=_numbers(rate), duration=seconds, rounds=rounds, seed=seed, shrink=shrink
        )
        return load(model, workload, latent=latent, device=device, peer=peer)

    show(measure, out)


@bench.command()
def rows(
    model: ModelOption = "emoji",
    latent: LatentOption = None,
    most: Annotated[int, typer.Option(min=1, max=1024, help="Most rows of a batch.")] = 64,
    rounds: RoundsOption = 5,
    device: DeviceOption = "auto",
    out: OutOption = None,
) -> None:
    """Row time against batch size, and the share of the device's matrix rate."""

    def measure() -> "Report":
        from diffusion.bench.rows import rows

        sizes = [2**power for power in range(most.bit_length())]
        return rows(model, latent=latent, sizes=sizes, rounds=rounds, device=device)

    show(measure, out)


@bench.command()
def tick(
    model: ModelOption = "emoji",
    latent: LatentOption = None,
    steps: Annotated[int, typer.Option(min=4, help="Sampler steps of the jobs.")] = 20,
    rounds: RoundsOption = 5,
    device: DeviceOption = "auto",
    out: OutOption = None,
) -> None:
    """Overhead beside the network, loop lag, strict mode, previews, eight LoRAs."""

    def measure() -> "Report":
        from diffusion.bench.tick import tick

        return tick(model, latent=latent, steps=steps, rounds=rounds, device=device)

    show(measure, out)


@bench.command()
def switch(
    model: ModelOption = "emoji",
    latent: LatentOption = None,
    peer: Annotated[bool, typer.Option(help="Also diffusers.")] = True,
    rounds: RoundsOption = 3,
    device: DeviceOption = "auto",
    out: OutOption = None,
) -> None:
    """Load from the page cache to the first tick, and change between models."""

    def measure() -> "Report":
        from diffusion.bench.switch import switch

        return switch(model, latent=latent, rounds=rounds, device=device, peer=peer)

    show(measure, out)


@bench.command("all")
def every(
    model: ModelOption = "sd15",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="How long people come, at each rate.")
    ] = 10.0,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Also the peer with compiled blocks.")
    ] = False,
    rounds: RoundsOption = 3,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for the rows in Markdown.")
    ] = None,
) -> None:
    """All five, one after another, at sizes meant for a GPU and ten minutes."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    files = [None if out is None else out / f"{name}.md" for name in _ALL]
    solo(model=model, compiled=compiled, rounds=rounds, device=device, out=files[0])
    rows(model=model, rounds=rounds, device=device, out=files[1])
    tick(model=model, rounds=rounds, device=device, out=files[2])
    load(model=model, seconds=seconds, device=device, out=files[3])
    # Last: not every model has files that both sides read.
    switch(model=model, rounds=1, device=device, out=files[4])


def show(measure: "Callable[[], Report]", out: Path | None) -> None:
    """Measure; print the table and the line of JSON, and write the Markdown where it is wanted."""
    from diffusion import DiffusionError

    try:
        if out is not None and not out.parent.is_dir():
            raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
        report = measure()
    except DiffusionError as error:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(str(error))
        raise typer.Exit(CONFIG) from None
    console = Console(highlight=False, markup=False)
    console.print(_table(report), width=None if console.is_terminal else _WIDEST)
    # Not through the console, which would wrap it.
    typer.echo(report.to_json())
    if out is not None:
        out.write_text(report.page(), encoding="utf-8")


def _table(report: "Report") -> Table:
    load = "" if report.load is None else f", load average {report.load:.1f}"
    table = Table(
        title=f"{report.command}: {report.machine}, {report.device}, {report.date}{load}",
        title_justify="left",
    )
    for head in ("figure", "measured", "goal"):
        table.add_column(head, overflow="fold")
    for line in report.lines():
        table.add_row(line.name, line.measured, line.goal)
    return table


def _numbers(text: str) -> tuple[float, ...]:
    """Read shares with commas between; typer's own error for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers such as 0.5,0.7", param_hint="--rate"
        ) from None


if __name__ == "__main__":
    bench()
