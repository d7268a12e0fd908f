"""`easel models`: what is configured, what a file is, fetching one and trusting one at the admin's
word.

Promises that nothing is fetched unless it is asked for by name, and that a file is told by what is
in it. Loads no weights.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from bot.exits import CONFIG, Exit
from diffusion import DiffusionError

if TYPE_CHECKING:
    from diffusion.checkpoints.header import TensorInfo
    from diffusion.checkpoints.parts import Checkpoint

models = typer.Typer(
    help="List the configured models; say what a file is; fetch a checkpoint; trust a new file.",
    invoke_without_command=True,
)

_UNTOLD: Final = "not to be told from its tensors"
_UNTRIED: Final = "not to be read from its names: tried out when it is loaded"
# Families whose network reads no words through cross-attention, which is what LoRAs change.
_WITHOUT_LORAS: Final = ("emoji", "ddpm", "ldm_uncond")
_WIDTHS: Final = {"F16": "float16", "F32": "float32", "BF16": "bfloat16"}


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
    _say_aligned(
        [
            (alias, f"{info.family}, {info.native_width}x{info.native_height}, {info.path}")
            for alias, info in found.items()
        ]
    )


@models.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A .safetensors file or a folder of components.")],
    loras: Annotated[
        Path | None, typer.Option(help="A folder of LoRAs: say which of them fit.")
    ] = None,
) -> None:
    """Say what a file is: family, prediction type, precision, size, hash, and which LoRAs fit."""
    from diffusion.checkpoints.folder import is_folder_model
    from diffusion.checkpoints.opening import open_checkpoint
    from diffusion.info import is_shipped_format, model_path

    try:
        where = model_path(str(path))
        own = is_shipped_format(where) and (where / "config.json").is_file()
        # A hub's folder of one network has a config.json too.
        if own and not is_folder_model(where):
            lines = _shipped(where)
        else:
            lines = describe(open_checkpoint(where), loras)
        _say_aligned(list(lines))
    except DiffusionError as error:
        raise _end(str(error), CONFIG) from None


def describe(found: "Checkpoint", loras: Path | None) -> Iterator[tuple[str, str]]:
    """Yield what a checkpoint is, as labels and texts; CheckpointError where it cannot be read."""
    yield "path", str(found.path)
    yield "kind", found.kind
    yield "family", _family(found) or _UNTOLD
    if found.kind in ("model", "unet"):
        yield "prediction", found.prediction_type or _UNTRIED
    yield "precision", found.precision
    count = len(found.files)
    yield "size", f"{_size(found.bytes)} in {count} file{'' if count == 1 else 's'}"
    for name, part in found.parts.items():
        yield f"  {name}", f"{_size(part.bytes)} in {len(part.sources):,} tensors"
    yield "sha256", found.sha256()
    if found.kind in ("model", "unet"):
        yield "LoRAs", _loras_of(found.family)
        if loras is not None:
            yield from _fitting(found, loras)


def _loras_of(family: str | None) -> str:
    if family in _WITHOUT_LORAS:
        return "none are made for this family"
    return f"those made for {family} fit" if family else _UNTOLD


def _family(found: "Checkpoint") -> str | None:
    """Return the family; a LoRA that leaves cross-attention alone is told by its other layers."""
    if found.kind != "lora" or found.family is not None:
        return found.family
    from diffusion.adapters.keys import lora_fits
    from diffusion.checkpoints.header import read_header

    tensors = read_header(found.path).tensors
    fits = lora_fits({key: info.shape for key, info in tensors.items()})
    return None if fits == "unknown" else fits


def _fitting(found: "Checkpoint", folder: Path) -> Iterator[tuple[str, str]]:
    """Yield for every file of a folder whether it is a LoRA made for this model's family."""
    from diffusion import CheckpointError
    from diffusion.checkpoints.opening import open_checkpoint

    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder; name the one where the LoRAs are.")
    for path in sorted(folder.rglob("*.safetensors")):
        name = f"  {path.relative_to(folder).with_suffix('')}"
        try:
            lora = open_checkpoint(path)
        except DiffusionError as error:
            yield name, str(error)
            continue
        family = _family(lora) if lora.kind == "lora" else None
        if lora.kind != "lora":
            yield name, f"is no LoRA but {lora.kind}"
        elif family is None:
            yield name, "does not tell what it is made for: try it"
        elif found.family is None:
            yield name, f"is made for {family}"
        else:
            fits = family == found.family
            yield name, "fits" if fits else f"is made for {family}, not for this"


def _shipped(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what a folder in the shipped model's own format is."""
    from diffusion import describe_model
    from diffusion.checkpoints.header import read_header
    from diffusion.files import checkpoint_file, sha256_of
    from diffusion.info import read_config

    info = describe_model(folder)
    path = checkpoint_file(folder)
    header, digest = read_header(path), sha256_of(path)
    schedule = read_config(folder).get("noise_schedule")
    prediction = schedule.get("prediction_type") if isinstance(schedule, dict) else None
    whole = "as config.json says" if digest == info.sha256 else "NOT the one of config.json"
    yield "path", str(path)
    yield "kind", "model"
    yield "family", info.family
    yield "prediction", str(prediction or _UNTOLD)
    yield "precision", _precision(list(header.tensors.values()))
    yield "size", f"{_size(header.size)} in 1 file"
    yield "sha256", f"{digest} ({whole})"
    yield "LoRAs", _loras_of(info.family)


def _precision(infos: "Sequence[TensorInfo]") -> str:
    """Return the precision of most of the weights."""
    counted: Counter[str] = Counter()
    for info in infos:
        counted[info.dtype] += info.end - info.start
    most = max(counted, key=lambda dtype: counted[dtype], default="unknown")
    return _WIDTHS.get(most, most.lower())


def _size(count: int) -> str:
    """Write bytes as people read them."""
    if count >= 2**30:
        return f"{count / 2**30:.2f} GiB"
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


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


@models.command()
def trust(
    name: Annotated[
        str,
        typer.Argument(
            help="A model's name in [models.<name>], or loras/NAME, embeddings/NAME, "
            "controls/NAME, upscale/NAME."
        ),
    ],
    config: Annotated[Path, typer.Option("--config", help="The settings.")] = Path("config.toml"),
) -> None:
    """Accept files of weights as they are now, after you replaced them yourself."""
    from bot.loading import read_config
    from bot.trusted import trust as take

    try:
        lines = [
            (str(path), f"sha256 {now}" + ("" if before in (None, now) else f", was {before}"))
            for path, before, now in take(read_config(config), name)
        ]
    except Exit as end:
        raise _end(str(end), end.code) from None
    except (DiffusionError, OSError) as error:
        raise _end(str(error), CONFIG) from None
    if not lines:
        _say(f"{name} is checked against its own config.json: there is nothing to trust.")
    _say_aligned(lines)


def _say_aligned(lines: Sequence[tuple[str, str]]) -> None:
    """Write labels and texts in two columns."""
    width = max((len(label) for label, _ in lines), default=0)
    for label, text in lines:
        _say(f"{label:<{width}}  {text}")


def _say(text: str) -> None:
    Console(highlight=False, markup=False, soft_wrap=True).print(text)


def _end(sentence: str, code: int) -> typer.Exit:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(sentence)
    return typer.Exit(code)
