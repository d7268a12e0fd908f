"""`easel models`: what is configured, what a file is, and fetching one at the admin's word.

Promises that nothing is fetched unless it is asked for by name, and that a file is told by what is
in it. Loads no weights.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bot.exits import CONFIG, Exit
from diffusion import DiffusionError

if TYPE_CHECKING:
    from diffusion.checkpoints.parts import Checkpoint

models = typer.Typer(
    help="List the configured models; say what a file is; fetch a checkpoint.",
    invoke_without_command=True,
)

_UNKNOWN = "not to be read from its names: tried out when it is loaded"


@models.callback()
def configured(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="The settings.")] = Path("config.toml"),
) -> None:
    """List the configured models and what they are."""
    if context.invoked_subcommand is not None:
        return
    from bot.loading import describe_models, read_config

    try:
        found = describe_models(read_config(config))
    except Exit as end:
        raise _end(str(end), end.code) from None
    for alias, info in found.items():
        _say(f"{alias}: {info.family}, {info.native_width}x{info.native_height}, {info.path}")


@models.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A .safetensors file or a folder of components.")],
    loras: Annotated[
        Path | None, typer.Option(help="A folder of LoRAs: say which of them fit.")
    ] = None,
) -> None:
    """Say what a file is: family, prediction type, precision, size, hash, and which LoRAs fit."""
    from diffusion.checkpoints.opening import open_checkpoint
    from diffusion.info import is_shipped_format, model_path

    try:
        where = model_path(str(path))
        if is_shipped_format(where) and (where / "config.json").is_file():
            _shipped(where)
            return
        found = open_checkpoint(where)
        for line in describe(found, loras):
            _say(line)
    except DiffusionError as error:
        raise _end(str(error), CONFIG) from None


def describe(found: "Checkpoint", loras: Path | None) -> Iterator[str]:
    """Yield the lines that say what a checkpoint is."""
    yield f"path: {found.path}"
    yield f"kind: {found.kind}"
    yield f"family: {found.family or 'not to be told from its tensors'}"
    if found.kind in ("model", "unet"):
        yield f"prediction: {found.prediction_type or _UNKNOWN}"
    yield f"precision: {found.precision}"
    yield f"size: {found.bytes / 2**20:,.1f} MiB in {len(found.files)} files"
    for name, part in found.parts.items():
        yield f"part {name}: {len(part.sources)} tensors, {part.bytes / 2**20:,.1f} MiB"
    yield f"sha256: {found.sha256()}"
    if found.kind == "model":
        yield f"LoRAs that fit: those made for {found.family}"
        if loras is not None:
            yield from _fitting(found, loras)


def _fitting(found: "Checkpoint", folder: Path) -> Iterator[str]:
    """Yield one line for every LoRA of a folder that is made for this model's family."""
    from diffusion.addons import enumerate_files
    from diffusion.checkpoints.opening import open_checkpoint

    for name, path in enumerate_files(folder).items():
        try:
            lora = open_checkpoint(path)
        except DiffusionError as error:
            yield f"  {name}: {error}"
            continue
        if lora.kind != "lora":
            yield f"  {name}: is no LoRA but {lora.kind}"
        else:
            fits = lora.family == found.family
            yield f"  {name}: {'fits' if fits else f'is made for {lora.family}, not for this'}"


def _shipped(folder: Path) -> None:
    from diffusion import describe_model
    from diffusion.files import checkpoint_file, sha256_of

    info = describe_model(folder)
    path = checkpoint_file(folder)
    digest = sha256_of(path)
    _say(f"path: {path}")
    _say(f"kind: model\nfamily: {info.family}")
    _say(f"size: {path.stat().st_size / 2**20:,.1f} MiB")
    whole = "as config.json says" if digest == info.sha256 else "NOT the one of config.json"
    _say(f"sha256: {digest} ({whole})")


@models.command()
def pull(
    repo: Annotated[str, typer.Argument(help="A repository of the hub, as owner/name.")],
    folder: Annotated[Path, typer.Option(help="Where it goes; none: models/<name>.")] = Path(
        "models"
    ),
    file: Annotated[
        list[str] | None, typer.Option(help="This file alone; may be given more than once.")
    ] = None,
    revision: Annotated[str, typer.Option(help="A branch, tag or commit.")] = "main",
    variant: Annotated[str | None, typer.Option(help="Prefer these files, such as fp16.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Another hub's address.")] = None,
) -> None:
    """Fetch a checkpoint: safetensors only, each file checked against the hub's hash."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from diffusion.hub import pull as fetch

    target = folder / repo.rsplit("/", 1)[-1] if file is None else folder
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    try:
        with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as bar:
            task = bar.add_task(repo, total=None)
            path = fetch(
                repo,
                target,
                revision=revision,
                files=file,
                variant=variant,
                endpoint=endpoint,
                progress=lambda done, total, name: bar.update(
                    task, completed=done, total=total, description=name
                ),
            )
    except DiffusionError as error:
        raise _end(str(error), CONFIG) from None
    _say(str(path))


def _say(text: str) -> None:
    Console(highlight=False, markup=False, soft_wrap=True).print(text)


def _end(sentence: str, code: int) -> typer.Exit:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(sentence)
    return typer.Exit(code)
