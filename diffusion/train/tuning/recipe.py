"""The numbers of a run on a folder of pictures, with defaults for small and for large models.

Promises: a recipe that exists is one that can be run; what cannot is refused with the number, the
limit and what to do. Never looks at a model or a picture.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from diffusion.errors import DiffusionError
from diffusion.train.losses import Decay

Method = Literal["lora", "full", "scratch", "inversion"]
METHODS: Final[tuple[Method, ...]] = ("lora", "full", "scratch", "inversion")
MAX_RANK: Final = 1024
MAX_VECTORS: Final = 75
# What a file's name, a prompt and a tag in it can all hold.
WORD: Final = re.compile(r"[\w](?:[\w.-]{0,62}[\w])?")


class TuningError(DiffusionError):
    """A run that cannot begin, go on or end; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Numbers of one run; everything that decides its bits beside the model and the pictures.

    learning_rate: AdamW's, after `warmup` steps and before it falls by `decay`. gamma: of min-SNR
    (0: every step counts the same). dropout: share of captions left out. average: decay of the
    moving average of weights (0: none). mirror: learn pictures mirrored, too. side: pixels a side
    of a square of as many pixels as pictures are learned in (0: the model's own). text: train the
    text encoder as well. rank, alpha, convolutions: of a LoRA, which adds alpha / rank (up down).
    word, vectors, initial: of a textual inversion, the last the text whose vectors it starts from.
    """

    method: Method
    steps: int
    batch: int
    learning_rate: float
    warmup: int = 20
    decay: Decay = "cosine"
    gamma: float = 5.0
    dropout: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.01
    average: float = 0.0
    mirror: bool = False
    side: int = 0
    text: bool = False
    rank: int = 8
    alpha: float = 8.0
    convolutions: bool = False
    word: str = ""
    vectors: int = 4
    initial: str = "drawing"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise TuningError for a number outside its limits."""
        if self.method not in METHODS:
            raise TuningError(f"method is {self.method!r}; there are {', '.join(METHODS)}.")
        for name, least, most in _WHOLE:
            _check(name, getattr(self, name), least, most, whole=True)
        for name, low, high in _NUMBERS:
            _check(name, getattr(self, name), low, high, whole=False)
        if self.decay not in ("cosine", "constant"):
            raise TuningError(f"decay is {self.decay!r}; choose cosine or constant.")
        if self.warmup > self.steps:
            raise TuningError(
                f"warmup is {self.warmup} and the run has {self.steps} steps: warm up for fewer."
            )
        if self.method == "inversion" and not WORD.fullmatch(self.word):
            raise TuningError(
                f"word is {self.word!r:.80}; a textual inversion needs one of 1 to 64 letters, "
                "digits, dots, dashes and underscores, with a letter or digit at both ends."
            )


_WHOLE: Final = (
    ("steps", 1, 10_000_000),
    ("batch", 1, 4096),
    ("warmup", 0, 10_000_000),
    ("side", 0, 4096),
    ("rank", 1, MAX_RANK),
    ("vectors", 1, MAX_VECTORS),
    ("seed", 0, 2**32 - 1),
)
_NUMBERS: Final = (
    ("learning_rate", 1e-9, 1.0),
    ("gamma", 0.0, 1000.0),
    ("dropout", 0.0, 1.0),
    ("clip", 1e-6, 1e6),
    ("weight_decay", 0.0, 1.0),
    ("average", 0.0, 0.999_999),
    ("alpha", 1e-3, 1e4),
)


def _check(name: str, value: object, low: float, high: float, *, whole: bool) -> None:
    kind = int if whole else int | float
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
        number = "a whole number" if whole else "a number"
        raise TuningError(f"{name} is {value!r:.40}; it must be {number} from {low:g} to {high:g}.")


# Models of 128 pixels a side and less, the shipped one among them.
SMALL: Final[Mapping[Method, Recipe]] = {
    "lora": Recipe(method="lora", steps=400, batch=8, learning_rate=2e-3),
    "full": Recipe(method="full", steps=1000, batch=16, learning_rate=2e-4, average=0.99),
    "scratch": Recipe(
        method="scratch", steps=8000, batch=32, learning_rate=7e-4, warmup=200, average=0.999,
        text=True,
    ),
    "inversion": Recipe(
        method="inversion", steps=400, batch=8, learning_rate=3e-3, weight_decay=0.0, dropout=0.0,
        word="word",
    ),
}  # fmt: skip
# Stable Diffusion and its relatives.
LARGE: Final[Mapping[Method, Recipe]] = {
    "lora": Recipe(method="lora", steps=1500, batch=2, learning_rate=1e-4, warmup=50),
    "full": Recipe(method="full", steps=2000, batch=4, learning_rate=1e-5, warmup=100),
    "scratch": Recipe(
        method="scratch", steps=100_000, batch=8, learning_rate=1e-4, warmup=1000, average=0.9999
    ),
    "inversion": Recipe(
        method="inversion", steps=1500, batch=4, learning_rate=5e-3, weight_decay=0.0, dropout=0.0,
        warmup=50, word="word",
    ),
}  # fmt: skip


def default_recipe(method: Method, *, small: bool) -> Recipe:
    """Return the recipe that does something good for forty pictures; TuningError for a method that
    there is not. The word of a textual inversion is for the caller to set.
    """
    if method not in METHODS:
        raise TuningError(f"method is {method!r:.40}; there are {', '.join(METHODS)}.")
    return (SMALL if small else LARGE)[method]
