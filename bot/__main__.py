"""The command line: `easel run | demo | imagine | check | backup | restore | models | …`.

Promises the exit codes of `bot.exits` and a sentence for every expected fault. Imports what a
command needs when it is called, so that `easel --help` is quick.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bot.backups_cli import backup, restore
from bot.bench_cli import bench
from bot.exits import CONFIG, Exit
from bot.models_cli import models
from bot.training import train

app = typer.Typer(
    help="Easel: a self-hosted Midjourney for Discord.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(backup)
app.command()(restore)
app.add_typer(models, name="models")
app.add_typer(train, name="train")
app.add_typer(bench, name="bench")

ConfigOption = Annotated[Path, typer.Option("--config", help="The settings.")]
_DEFAULT_CONFIG = Path("config.toml")


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def _sentences() -> Iterator[None]:
    """End with a sentence and a code where a command raises Exit."""
    try:
        yield
    except Exit as end:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(str(end))
        raise typer.Exit(end.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _require_free(folder: Path) -> None:
    from storage import StorageError, require_free

    try:
        require_free(folder)
    except StorageError as error:
        raise Exit(str(error)) from error


@app.command()
def run(config: ConfigOption = _DEFAULT_CONFIG) -> None:
    """Start the bot on Discord; the token comes from DISCORD_TOKEN or a file."""
    from bot.loading import environment, read_config, read_token
    from bot.logs import configure
    from bot.secrets import Redactor

    with _sentences():
        settings = read_config(config)
        _require_free(settings.storage.folder)
        # After the question, for a second start is over before this import is.
        from bot.serving import serve

        token = read_token(settings, environment())
        configure(
            level=settings.monitoring.log_level,
            style=settings.monitoring.log_format,
            stream=sys.stderr,
            redactor=Redactor([token]),
        )
        out = Console(highlight=False)
        asyncio.run(
            serve(
                settings,
                token,
                config_path=config.resolve(),
                on_ready=lambda: out.print("Easel is connected. Type /imagine in a channel."),
            )
        )


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0: any.")] = 8090,
    data: Annotated[Path, typer.Option(help="Where jobs and pictures are kept.")] = Path(
        "data/demo"
    ),
) -> None:
    """Try everything on this machine alone: a loopback Discord, its page, the bot, the model."""
    from bot.demo import demo as run_demo
    from bot.logs import configure

    with _sentences():
        configure(level="warning", style="plain", stream=sys.stderr)
        out = Console(highlight=False, soft_wrap=True)
        run_demo(
            port=port, folder=data.resolve(), announce=lambda url: out.print(f"Easel is at {url}")
        )


@app.command()
def imagine(
    prompt: Annotated[list[str], typer.Argument(help="What to paint, with flags after a --.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The grid.")] = Path("grid.png"),
    tiles: Annotated[Path | None, typer.Option(help="A folder for each picture alone.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The settings; none: the defaults.")
    ] = None,
) -> None:
    """Paint a prompt with no Discord: the same grammar, the same engine.

    Quote the prompt together with its flags: easel imagine "a red heart --ar 3:2 --seed 7".
    """
    from rich.progress import Progress

    from bot.config import Config
    from bot.imagine import paint, params_of
    from bot.loading import describe_models, read_config

    with _sentences():
        settings = Config() if config is None else read_config(config)
        models = describe_models(settings)
        jobs = params_of(" ".join(prompt), settings, models)
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        for number, params in enumerate(jobs):
            path = output if number == 0 else output.with_stem(f"{output.stem}-{number + 1}")
            with Progress(console=console, transient=True) as bar:
                task = bar.add_task("painting", total=None)
                written = paint(
                    params,
                    settings,
                    models[params.model],
                    output=path,
                    tiles=tiles,
                    progress=lambda done, total, bar=bar, task=task: bar.update(  # type: ignore[misc]
                        task, completed=done, total=total
                    ),
                )
            Console(highlight=False, soft_wrap=True).print(str(written.grid))


@app.command()
def check(config: ConfigOption = _DEFAULT_CONFIG) -> None:
    """Say what a start would use, and everything that is wrong; exit code 0 or 78."""
    from bot.check import check as look
    from bot.loading import environment

    with _sentences():
        findings = asyncio.run(look(config, environment()))
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for finding in findings:
        console.print(f"{'ok  ' if finding.good else 'FAIL'} {finding.subject}: {finding.text}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(CONFIG)


if __name__ == "__main__":
    main()
