"""`easel imagine`: the same grammar and the same engine with no Discord."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.config import Config
from bot.exits import Exit
from bot.jobs import software
from bot.limits import check_length
from bot.loading import load_configured
from bot.prompt import PromptError, parse
from bot.resolve import resolve_runs
from bot.wildcards import load_wildcards
from diffusion import DiffusionError, ModelInfo, Params, ParamsError
from diffusion.pictures import encode_png, enlarge, make_grid, withhold
from diffusion.provenance import Provenance
from storage.ids import new_job_id

# A file on the disk stands behind no spoiler and in no channel.
_WITHHELD: Final = frozenset({"block", "restricted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of one run."""

    grid: Path
    tiles: tuple[Path, ...]


def params_of(text: str, config: Config, models: dict[str, ModelInfo]) -> tuple[Params, ...]:
    """Read a prompt as the bot would; Exit shows the place of the fault."""
    refusal = check_length(text, config.limits)
    if refusal is not None:
        raise Exit(refusal.text, code=1)
    try:
        seed = random.SystemRandom().randrange(2**32)
        folder = config.defaults.wildcards
        lists = {} if folder is None or "__" not in text else load_wildcards(folder)
        runs = resolve_runs(parse(text), models=models, config=config, seed=seed, lists=lists)
    except PromptError as error:
        hint = f"\nTry: {error.suggestion}" if error.suggestion else ""
        raise Exit(f"{error.message}\n{error.caret()}{hint}", code=1) from error
    return tuple(run.params for run in runs)


def paint(
    params: Params,
    config: Config,
    info: ModelInfo,
    *,
    output: Path,
    tiles: Path | None,
    progress: Callable[[int, int], None],
) -> Written:
    """Paint one job and write its grid (and, asked, each picture at its native size)."""
    from diffusion import generate
    from diffusion.device import choose_device

    try:
        device = choose_device(config.engine.device, config.engine.dtype)
        model = load_configured(config, params.model, device)
        pictures = None
        for step in generate(model, params):
            progress(step.index, step.total)
            pictures = step.pictures
            if pictures is not None and config.moderation.unsafe in _WITHHELD:
                pictures = withhold(pictures, step.flagged)
    except ParamsError as error:
        # What was asked for is at fault, not the settings.
        raise Exit(f"This cannot be painted: {error}", code=1) from error
    except DiffusionError as error:
        raise Exit(f"This cannot be painted: {error}") from error
    if pictures is None:
        raise Exit("The engine ended without pictures.", code=1)
    job_id = new_job_id()

    def provenance(index: int) -> Provenance:
        return Provenance(
            params=params,
            job_id=job_id,
            index=index,
            model_name=info.name,
            model_sha256=info.sha256,
            software=software(),
        )

    large = [enlarge(picture, info.display_scale) for picture in pictures]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(encode_png(make_grid(large), provenance(0)))
        written = []
        if tiles is not None:
            tiles.mkdir(parents=True, exist_ok=True)
            for index, picture in enumerate(large, start=1):
                path = tiles / f"easel-{job_id}-{index}.png"
                path.write_bytes(encode_png(picture, provenance(index)))
                written.append(path)
    except OSError as error:
        raise Exit(f"{error.filename or output} cannot be written: {error.strerror}") from error
    return Written(grid=output, tiles=tuple(written))
