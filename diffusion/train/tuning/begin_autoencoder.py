"""From a folder and a model to a run of its first stage that is ready; see `begin`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from diffusion.info import describe_model, is_shipped_format
from diffusion.train.buckets import describe
from diffusion.train.folder import Checks, read_folder
from diffusion.train.precision import Precision, choose_precision
from diffusion.train.tuning.autoencoder import AutoencoderRecipe, AutoencoderRun
from diffusion.train.tuning.begin import Counted, checked_path
from diffusion.train.tuning.images import digest_of, place_all
from diffusion.train.tuning.place import Place
from diffusion.train.tuning.room import autoencoder_memory, check_device, trained_bytes
from diffusion.train.tuning.subject import SMALL_AREA, Subject, fingerprint, open_subject

# Small first stages learn fast; those of Stable Diffusion have seen millions of pictures.
_SMALL: Final = AutoencoderRecipe(steps=1000, batch=16, learning_rate=2e-4)
_SMALL_SCRATCH: Final = AutoencoderRecipe(
    steps=4000, batch=16, learning_rate=1.2e-3, warmup=80, average=0.998, scratch=True
)
_LARGE: Final = AutoencoderRecipe(steps=2000, batch=2, learning_rate=1e-5, warmup=50)
_LARGE_SCRATCH: Final = AutoencoderRecipe(
    steps=100_000, batch=4, learning_rate=1e-4, warmup=500, average=0.999, scratch=True
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedAutoencoder:
    """A run that is ready, and lines and warnings for a person."""

    run: AutoencoderRun
    told: tuple[str, ...]
    warnings: tuple[str, ...]


def autoencoder_recipe(model: str | Path, given: Mapping[str, object]) -> AutoencoderRecipe:
    """Return the default recipe for a model, with the fields that are given; TuningError for
    numbers that make no run.
    """
    small = describe_model(model).native_area <= SMALL_AREA
    if given.get("scratch"):
        base = _SMALL_SCRATCH if small else _LARGE_SCRATCH
    else:
        base = _SMALL if small else _LARGE
    changed: dict[str, Any] = dict(given)
    if "steps" in given and "warmup" not in given and isinstance(given["steps"], int):
        changed["warmup"] = max(0, min(base.warmup, given["steps"] // 10))
    return replace(base, **changed)


def open_autoencoder(
    pictures: Path,
    *,
    model: str | Path,
    recipe: AutoencoderRecipe,
    out: Path | None = None,
    vae: Path | None = None,
    device: str = "cpu",
    precision: Precision | None = None,
    reading: Counted | None = None,
) -> OpenedAutoencoder:
    """Check everything and make a run ready; errors as for `begin.open_run`."""
    subject = open_subject(model, device=device, vae=vae)
    place = Place(out=_result(out, pictures, subject))
    needed = autoencoder_memory(subject, batch=recipe.batch, side=recipe.side)
    check_device(subject, needed)
    checks = _checks(subject, recipe, place, needed)
    found = read_folder(pictures, checks=checks, progress=reading)
    placed = place_all(subject, found.items, recipe.side)
    named = {"model": f"{subject.model.info.name} {fingerprint(subject)}"}
    settings = {"method": "autoencoder", **asdict(recipe), **named}
    place.claim({**settings, "pictures": digest_of(pictures, found.items)})
    run = AutoencoderRun(
        subject=subject,
        placed=placed,
        recipe=recipe,
        place=place,
        precision=precision or choose_precision(device),
    )
    return OpenedAutoencoder(run=run, told=describe(placed), warnings=found.warnings)


def _result(out: Path | None, pictures: Path, subject: Subject) -> Path:
    is_folder = is_shipped_format(subject.source)
    stem = f"{pictures.resolve().name}-vae"
    chosen = out or Path(stem if is_folder else f"{stem}.safetensors")
    return checked_path(chosen, pictures, is_folder=is_folder)


def _checks(subject: Subject, recipe: AutoencoderRecipe, place: Place, needed: int) -> Checks:
    trained = trained_bytes({"vae": subject.vae})
    return Checks(
        min_side=max(16, subject.side(recipe.side) // 4),
        states=place.folder,
        # Weights, average and two moments, old and new, and the result.
        disk=2 * 4 * trained + 2 * trained,
        memory=needed if subject.model.device.type == "cpu" else 0,
    )
