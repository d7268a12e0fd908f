"""LoRAs and textual inversions that a prompt names, looked up before the job is accepted.

Promises that a name no folder has is refused with the nearest that there are, at its place; that a
file which is known to have changed since it was trusted is refused there too; that no text of a
person becomes a path; and that a prompt which names nothing costs nothing. `known` and
`check_addons` read folders and files: call them in a thread.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot import texts_trust
from bot.config import Config, ModelConfig
from bot.language import tr
from bot.prompt import PromptError
from bot.prompt.mend import clip
from bot.trusted_addons import ChangedAddonError, refuse_changed
from diffusion import DiffusionError
from diffusion.addon_files import enumerate_files

MOST_CHOICES: Final = 3
_LORA: Final = re.compile(r"<lora:\s*([^<>:]*?)\s*(?=[:>])")
_EMBEDDING: Final = re.compile(r"embedding:([\w.-]+)|<([^\W\d][\w.-]*)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names that one model's prompts may use."""

    loras: Collection[str] = ()
    embeddings: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A name in a prompt: what it is, and the places of the name and of all around it."""

    name: str
    start: int
    end: int
    outer_start: int
    outer_end: int
    is_lora: bool


def names_any(text: str) -> bool:
    """Say whether a prompt may name an add-on at all."""
    return next(_named(text), None) is not None


def known(model: ModelConfig) -> Known:
    """Return the names of a model's add-ons. Blocks."""
    return Known(loras=_names(model.loras), embeddings=_names(model.embeddings))


def check_names(text: str, names: Known) -> None:
    """Refuse the first name that is not known; PromptError offers the nearest."""
    embeddings = {name.casefold() for name in names.embeddings}
    for each in _named(text):
        if each.is_lora and each.name not in names.loras:
            raise _unknown(text, each, names.loras)
        if not each.is_lora and each.name.casefold() not in embeddings:
            raise _unknown(text, each, names.embeddings)


def check_addons(text: str, config: Config, alias: str) -> None:
    """Refuse the first name that a model's folders do not have, and then the first whose file is
    not the one that was trusted; PromptError. Blocks.
    """
    model = config.models[alias]
    loras, embeddings = _files(model.loras), _files(model.embeddings)
    check_names(text, Known(loras=loras, embeddings=embeddings))
    folded = {name.casefold(): path for name, path in embeddings.items()}
    for each in _named(text):
        path = loras[each.name] if each.is_lora else folded[each.name.casefold()]
        try:
            refuse_changed(config, alias, "lora" if each.is_lora else "embedding", path)
        except ChangedAddonError as error:
            message = texts_trust.changed_words(error.kind, each.name)
            # The word alone would name an embedding still.
            raise _refused(text, each, message, plain="") from error


def _names(folder: Path | None) -> tuple[str, ...]:
    return tuple(_files(folder))


def _files(folder: Path | None) -> dict[str, Path]:
    try:
        return enumerate_files(folder)
    except (DiffusionError, OSError):
        return {}


def _named(text: str) -> Iterator[_Named]:
    for match in _LORA.finditer(text):
        closing = text.find(">", match.end())
        yield _Named(
            name=match[1],
            start=match.start(1),
            end=match.end(1),
            outer_start=match.start(),
            outer_end=len(text) if closing < 0 else closing + 1,
            is_lora=True,
        )
    for match in _EMBEDDING.finditer(text):
        group = 1 if match[1] is not None else 2
        name = match[group].rstrip(".-")
        yield _Named(
            name=name,
            start=match.start(group),
            end=match.start(group) + len(name),
            outer_start=match.start(),
            outer_end=match.end(),
            is_lora=False,
        )


def _unknown(text: str, each: _Named, there: Collection[str]) -> PromptError:
    near = difflib.get_close_matches(each.name[:64], list(there), n=MOST_CHOICES, cutoff=0.4)
    if each.is_lora:
        message = tr("There is no LoRA “{name}” for this model.", name=clip(each.name))
    else:
        message = tr("There is no embedding “{name}” for this model.", name=clip(each.name))
    if near:
        message += " " + tr("The nearest: {names}.", names=", ".join(near))
    return _refused(text, each, message, plain="" if each.is_lora else each.name, near=near)


def _refused(
    text: str, each: _Named, message: str, *, plain: str, near: Sequence[str] = ()
) -> PromptError:
    """Return a refusal at a name's place; the way out is one of the names, or the plain word."""
    without = f"{text[: each.outer_start]}{plain}{text[each.outer_end :]}"
    return PromptError(
        message,
        text=text,
        start=each.start,
        end=each.end,
        suggestion=None if near else " ".join(without.split()) or None,
        choices=[(name, f"{text[: each.start]}{name}{text[each.end :]}") for name in near],
    )
