"""From a folder, a model and a recipe to a run that is ready: every check, in one go, at the start.

Promises: nothing is written before all of it is known to be good; the picture at fault is named.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from torch import nn

from diffusion.info import describe_model, is_shipped_format
from diffusion.train.buckets import Placed, describe
from diffusion.train.folder import Checks, read_folder
from diffusion.train.precision import Precision, choose_precision
from diffusion.train.tuning.full import Full
from diffusion.train.tuning.images import digest_of, encode_all, latent_bytes, place_all
from diffusion.train.tuning.inversion import inversion
from diffusion.train.tuning.lowrank import lowrank
from diffusion.train.tuning.place import Place
from diffusion.train.tuning.recipe import Method, Recipe, TuningError, default_recipe
from diffusion.train.tuning.room import check_device, disk_needed, memory_needed, trained_bytes
from diffusion.train.tuning.subject import (
    SMALL_AREA,
    Subject,
    check_method,
    fingerprint,
    from_nothing,
    open_subject,
)
from diffusion.train.tuning.trainable import Trainable
from diffusion.train.tuning.tune import Run, settings_of
from diffusion.train.tuning.words import count_tokens

# Told how many things of how many are done.
Counted = Callable[[int, int], None]
_TAG: Final = re.compile(r"[<>:]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for. out: the result; None for a name made from the folder's (or word).
    precision: None for what this machine is fastest with.
    """

    pictures: Path
    model: str | Path
    recipe: Recipe
    out: Path | None = None
    vae: Path | None = None
    device: str = "cpu"
    precision: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A run that is ready. `told`: lines for a person; `resumed`: whether it was begun before."""

    run: Run
    placed: tuple[Placed, ...]
    told: tuple[str, ...]
    warnings: tuple[str, ...]
    resumed: bool


def recipe_for(model: str | Path, method: str, given: Mapping[str, object]) -> Recipe:
    """Return the default recipe for a model and a method, with the fields that are given.

    A warm-up that was not given is at most a tenth of the steps. TuningError for what there is not.
    """
    info = describe_model(model)
    small = info.native_area <= SMALL_AREA
    base = default_recipe(cast(Method, method), small=small)
    changed: dict[str, Any] = dict(given)
    if "steps" in given and "warmup" not in given and isinstance(given["steps"], int):
        changed["warmup"] = max(0, min(base.warmup, given["steps"] // 10))
    if method == "scratch" and "text" not in given:
        # Text encoders of other models learned from far more than one folder.
        changed["text"] = info.family == "emoji"
    return replace(base, **changed)


def open_run(
    wish: Wish, *, reading: Counted | None = None, encoding: Counted | None = None
) -> Opened:
    """Check everything and make a run ready.

    TuningError, TrainingDataError or CheckpointError say what is wrong and what to do.
    """
    recipe = wish.recipe
    subject = open_subject(wish.model, device=wish.device, vae=wish.vae)
    told_by = fingerprint(subject)
    check_method(subject, recipe)
    place = Place(out=result_path(wish, subject))
    if recipe.method == "scratch":
        subject = from_nothing(subject, text=recipe.text, seed=recipe.seed)
    trained = trainable(subject, recipe)
    needed = memory_needed(subject, recipe, trained.networks)
    check_device(subject, needed)
    found = read_folder(
        wish.pictures,
        checks=checks_for(subject, recipe, trained, place, needed),
        count_tokens=lambda caption: count_tokens(subject.encoder, trained.worded(caption)),
        progress=reading,
    )
    placed = place_all(subject, found.items, recipe.side)
    pictures = digest_of(wish.pictures, found.items)
    resumed = place.claim(settings_of(subject, recipe, told_by, pictures))
    latents = encode_all(subject, placed, mirror=recipe.mirror, progress=encoding)
    run = Run(
        subject=subject,
        trained=trained,
        pictures=latents,
        recipe=recipe,
        place=place,
        precision=wish.precision or choose_precision(wish.device),
    )
    return Opened(
        run=run, placed=placed, told=describe(placed), warnings=found.warnings, resumed=resumed
    )


def trainable(subject: Subject, recipe: Recipe) -> Trainable:
    """Return what a recipe trains of a model."""
    if recipe.method == "lora":
        return lowrank(subject, recipe)
    if recipe.method == "inversion":
        return inversion(subject, recipe)
    return Full(subject=subject, recipe=recipe)


def checks_for(
    subject: Subject, recipe: Recipe, trained: Trainable, place: Place, needed: int
) -> Checks:
    """Return what is asked of the folder, of the disk and of memory."""
    whole: list[nn.Module] = [subject.unet, subject.vae, *(e.model for e in subject.encoders)]
    weights = sum(p.numel() for network in whole for p in network.parameters())
    is_whole = recipe.method in ("full", "scratch")
    result = 2 * weights if is_whole else trained_bytes(trained.networks)
    return Checks(
        min_side=max(16, subject.side(recipe.side) // 4),
        window=subject.encoder.config.window,
        states=place.folder,
        disk=disk_needed(recipe, trained.networks, result),
        memory=needed if subject.model.device.type == "cpu" else 0,
        memory_each=latent_bytes(subject, side=recipe.side, mirror=recipe.mirror),
    )


def result_path(wish: Wish, subject: Subject) -> Path:
    """Return where the result goes; TuningError for a place or a name that it cannot have."""
    recipe = wish.recipe
    is_folder = recipe.method in ("full", "scratch") and is_shipped_format(subject.source)
    stem = recipe.word if recipe.method == "inversion" else wish.pictures.resolve().name
    stem = f"{stem}-model" if recipe.method in ("full", "scratch") else stem
    out = wish.out or Path(stem if is_folder else f"{stem}.safetensors")
    return checked_path(out, wish.pictures, is_folder=is_folder, word=_named_by(recipe))


def _named_by(recipe: Recipe) -> str:
    return recipe.word if recipe.method == "inversion" else ""


def checked_path(out: Path, pictures: Path, *, is_folder: bool, word: str = "") -> Path:
    """Return `out` if a result of its kind can be there; TuningError says why not.

    is_folder: whether the result is one. word: the name that the file must have, where not "".
    """
    if not is_folder and out.suffix != ".safetensors":
        raise TuningError(f"{out} must end in .safetensors: that is the kind of file it will be.")
    if is_folder and out.suffix == ".safetensors":
        raise TuningError(
            f"{out} will be a folder, as the model that it comes from: leave .safetensors out."
        )
    if _TAG.search(out.stem):
        raise TuningError(
            f"{out.name} holds one of < > :, which a prompt cannot name: choose another."
        )
    if word and out.stem != word:
        raise TuningError(
            f"{out.name} must be named {word}.safetensors: people write the name of the file."
        )
    if out.resolve().is_relative_to(pictures.resolve()):
        raise TuningError(
            f"{out} lies in the folder of pictures, where sheets would be taken for some: choose "
            "another --out."
        )
    if not out.resolve().parent.is_dir():
        raise TuningError(f"{out.resolve().parent} is no folder: make it, or choose another --out.")
    return out
