"""What does a picture show? Prompts for it, by the describer that lies beside a model's weights.

`describer.safetensors` holds a small network and, as metadata, what its outputs are called:

    {"describer": {"format": 1, "channels": [40, 80, 160], "embedding": 128, "scale": 20.0,
                   "names": [...], "styles": [...], "palette": {"red": [r, g, b], ...},
                   "painted": [...], "taught": [...]}}

`painted` are the styles that the model itself was taught, the only ones that prompts name, and
`taught` the names, which prompts prefer to others that are about as likely.
Promises: the same prompts for the same picture; loading is strict and happens when somebody first
asks; on the CPU in float32, beside whatever the device does. Never: anything of the judge's, which
measures painters and is no part of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffusion.describe_network import DESCRIBER_SIZE, DescriberConfig, DescriberNet
from diffusion.describe_words import Pixels, background_of, word_prompts
from diffusion.errors import AbilityError, CheckpointError
from diffusion.info import DESCRIBER_NAME
from diffusion.model import Model

FORMAT: Final = 1
MAX_PROMPTS: Final = 16
# How much more than its probability a name counts that the model was taught: "red heart" and "heart
# suit" are one drawing, and the model paints only the first.
PREFERENCE: Final = 2.0
_MAX_NAMES: Final = 20_000
_MAX_WORD: Final = 100
_BATCH: Final = 128
# Models in use at once that can describe; each takes 3 MB.
_KEPT: Final = 4

Shares = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a describer's outputs are called, and what prompts may say.

    `painted` and `taught`: the styles and names that its model was taught. `palette`: the
    background colours with names.
    """

    names: tuple[str, ...]
    styles: tuple[str, ...]
    painted: tuple[str, ...]
    taught: frozenset[str]
    palette: Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Describer:
    """A trained network with the words for what it sees."""

    network: DescriberNet
    vocabulary: Vocabulary

    @torch.inference_mode()
    def look(self, pictures: Sequence[Image.Image]) -> tuple[Shares, Shares]:
        """Return N x names and N x styles probabilities of pictures of any size."""
        pixels = [seen(picture) for picture in pictures]
        parts = [
            self.network(to_input(np.stack(pixels[start : start + _BATCH])))
            for start in range(0, len(pixels), _BATCH)
        ]
        names, styles = (torch.cat([part[i] for part in parts]).softmax(dim=1) for i in (0, 1))
        return names.numpy(), styles.numpy()

    def prompts(self, picture: Image.Image, count: int) -> list[str]:
        """Return at most `count` prompts that would paint something like a picture, best first."""
        words = self.vocabulary
        names, styles = self.look([picture])
        known = np.array([name in words.taught for name in words.names])
        useful = names[0] * np.where(known, PREFERENCE, 1.0)
        best = np.argsort(-useful, kind="stable")[:count]
        of = {style: float(share) for style, share in zip(words.styles, styles[0], strict=True)}
        return word_prompts(
            [(words.names[i], float(useful[i])) for i in best],
            sorted(words.painted, key=lambda style: -of[style]),
            self.background(picture),
            count,
        )

    def background(self, picture: Image.Image) -> str | None:
        """Name the plain colour that a picture lies on, None where it lies on none."""
        return background_of(seen(picture), self.vocabulary.palette)


def describe(model: Model, picture: Image.Image, *, count: int = 4) -> list[str]:
    """Return at most `count` (1 to 16) prompts for a picture, best first.

    AbilityError where the model has no describer, CheckpointError where its describer is damaged.
    """
    folder = Path(model.info.path)
    describer = None
    if (folder / DESCRIBER_NAME).is_file():
        with model.addons.vouch("describer", folder / DESCRIBER_NAME):
            describer = find_describer(folder)
    if describer is None:
        raise AbilityError(
            f"{model.info.name} cannot describe pictures: no {DESCRIBER_NAME} lies beside its "
            'weights. Add a [models.…] section with path = "emoji", the model that ships, and '
            "describe with that."
        )
    return describer.prompts(picture, max(1, min(count, MAX_PROMPTS)))


def find_describer(model: Path) -> Describer | None:
    """Return the describer in a model's folder, loaded once; None for a model without one."""
    path = model / DESCRIBER_NAME
    try:
        told = path.stat()
    except OSError:
        return None
    return _kept(path, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)


@lru_cache(maxsize=_KEPT)
def _kept(path: Path, *stamp: int) -> Describer:
    """Load a file unless it was loaded before and is still the same."""
    del stamp
    return load_describer(path)


def load_describer(path: Path) -> Describer:
    """Load a describer's file; CheckpointError when it is not whole or not one."""
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["describer"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        vocabulary, config = _read(card)
        network = DescriberNet(config)
        _check(tensors, network)
        network.load_state_dict(tensors)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is no whole describer: {error}. Copy it again from where it came."
        ) from error
    network.eval().requires_grad_(requires_grad=False)
    return Describer(network=network, vocabulary=vocabulary)


def _read(card: Any) -> tuple[Vocabulary, DescriberConfig]:  # noqa: ANN401 - any JSON
    """Check what a file says about itself; ValueError, KeyError or TypeError where it is wrong."""
    if not isinstance(card, dict) or card["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    names, styles = _words(card["names"]), _words(card["styles"])
    painted, taught = (_words(card[key], least=0) for key in ("painted", "taught"))
    if not set(painted) <= set(styles) or not set(taught) <= set(names):
        raise ValueError("its model was taught names or styles that it has no word for")
    palette = {str(name): _colour(rgb) for name, rgb in dict(card["palette"]).items()}
    if not palette:
        raise ValueError("it has no palette")
    first, second, third = (_size(channels) for channels in card["channels"])
    config = DescriberConfig(
        names=len(names),
        styles=len(styles),
        channels=(first, second, third),
        embedding=_size(card["embedding"]),
        scale=float(card["scale"]),
    )
    vocabulary = Vocabulary(
        names=names, styles=styles, painted=painted, taught=frozenset(taught), palette=palette
    )
    return vocabulary, config


def _words(given: Any, least: int = 1) -> tuple[str, ...]:  # noqa: ANN401 - any JSON
    if not isinstance(given, list) or not least <= len(given) <= _MAX_NAMES:
        raise ValueError(f"a list of words has {least} to {_MAX_NAMES}")
    if not all(isinstance(word, str) and 1 <= len(word) <= _MAX_WORD for word in given):
        raise ValueError(f"a word has 1 to {_MAX_WORD} letters")
    if len(set(given)) < len(given):
        raise ValueError("a list holds a word twice")
    return tuple(given)


def _size(given: Any) -> int:  # noqa: ANN401 - any JSON
    if not isinstance(given, int) or not 1 <= given <= 1024:
        raise ValueError(f"a layer is {given!r:.40} wide, not 1 to 1024")
    return given


def _colour(given: Any) -> tuple[int, int, int]:  # noqa: ANN401 - any JSON
    red, green, blue = (int(value) for value in given)
    return red, green, blue


def _check(tensors: Mapping[str, Tensor], network: DescriberNet) -> None:
    """Refuse tensors that are not the network's own; ValueError names the first."""
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    given = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(n for n in expected.keys() | given.keys() if expected.get(n) != given.get(n))
    if wrong:
        raise ValueError(f"{wrong[0]} and {len(wrong) - 1} more tensors do not fit its network")
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds numbers that are not finite")


def seen(picture: Image.Image) -> Pixels:
    """Return a picture as the describer sees it: 64 x 64 x 3, whole, on white where see-through.

    What is missing to a square has the colour of most of the border.
    """
    if picture.has_transparency_data:
        straight = picture.convert("RGBA")
        white = Image.new("RGBA", straight.size, "white")
        picture = Image.alpha_composite(white, straight)
    rgb, longest = picture.convert("RGB"), max(picture.size)
    width, height = (max(1, round(side * DESCRIBER_SIZE / longest)) for side in rgb.size)
    small = rgb.resize((width, height), Image.Resampling.BOX)
    if width == height:
        return np.asarray(small, dtype=np.uint8)
    pixels = np.asarray(small)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    square = np.empty((DESCRIBER_SIZE, DESCRIBER_SIZE, 3), dtype=np.uint8)
    square[:] = np.median(edge, axis=0)
    top, left = (DESCRIBER_SIZE - height) // 2, (DESCRIBER_SIZE - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def to_input(pixels: Pixels) -> Tensor:
    """Return N x 3 x 64 x 64 in [-1, 1] from N x 64 x 64 x 3 in 0..255."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
