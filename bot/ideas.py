"""Prompts out of nothing: drawn from the admin's word lists, or from what a model has learned.

Promises that the same seed and the same words give the same prompt, that an admin's lists come
first, and that a model which says what it was trained on is asked for nothing else. Draws from the
seed alone, and never paints.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.prompt import Lists, PromptError
from bot.prompt import draw as draw_words
from diffusion import ModelInfo

MAX_SEED: Final = 2**32 - 1
_MOST_BYTES: Final = 4_000_000
_MOST_LISTS: Final = 3
_COLOURS: Final = (
    "red",
    "orange",
    "yellow",
    "green",
    "teal",
    "light blue",
    "blue",
    "purple",
    "pink",
    "brown",
    "gray",
    "black",
)
_SUBJECTS: Final = (
    "a red fox",
    "an old lighthouse",
    "a market at night",
    "a glass teapot",
    "a heron",
    "a paper boat",
    "a mountain village",
    "a clockwork owl",
    "a field of sunflowers",
    "a narrow street after rain",
    "a sleeping cat",
    "a stone bridge",
    "a greenhouse full of ferns",
    "a snowed-in train",
    "a whale above the clouds",
    "a bowl of ramen",
)
_LIGHTS: Final = (
    "at dawn",
    "in fog",
    "under a full moon",
    "in the last light of day",
    "in the snow",
    "seen from above",
    "reflected in water",
    "behind a wet window",
)
_STYLES: Final = (
    "watercolour",
    "linocut",
    "oil painting",
    "pencil drawing",
    "gouache",
    "studio photograph",
    "isometric drawing",
    "woodblock print",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a model is known to paint; empty where it does not say."""

    names: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


NOTHING: Final = Vocabulary()


def vocabulary_of(info: ModelInfo) -> Vocabulary:
    """Read what a model learned: names from its thesaurus, styles from its credits. Blocks."""
    styles = tuple(credit.partition(":")[0].strip() for credit in info.credits if ":" in credit)
    return Vocabulary(names=_names(Path(info.path) / "thesaurus.json"), styles=styles)


def think(seed: int, vocabulary: Vocabulary, lists: Lists | None = None) -> str:
    """Return a prompt."""
    # What is drawn is a picture's words, no secret.
    draw = random.Random(seed)  # noqa: S311
    if lists:
        listed = _listed(seed, draw, lists)
        if listed is not None:
            return listed
    if not vocabulary.names:
        return f"{_one(draw, _SUBJECTS)} {_one(draw, _LIGHTS)}, {_one(draw, _STYLES)}"
    parts = [_one(draw, vocabulary.names)]
    if vocabulary.styles:
        parts.append(f"{_one(draw, vocabulary.styles)} style")
    colour = _one(draw, _COLOURS)
    if draw.random() < 0.5:
        parts.append(f"on a {colour} background")
    return ", ".join(parts)


def _listed(seed: int, draw: random.Random, lists: Lists) -> str | None:
    """Draw a line of up to three of the lists; None where that makes no words."""
    names = draw.sample(sorted(lists), min(_MOST_LISTS, len(lists)))
    try:
        return draw_words(", ".join(f"__{name}__" for name in names), seed, lists).strip() or None
    # A list may name one that is not there: its writer's fault, not the asker's.
    except PromptError:
        return None


def _one(draw: random.Random, words: Sequence[str]) -> str:
    return words[draw.randrange(len(words))]


def _names(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ()
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ()
    names = found.get("plurals") if isinstance(found, dict) else None
    return tuple(sorted(names)) if isinstance(names, dict) else ()
