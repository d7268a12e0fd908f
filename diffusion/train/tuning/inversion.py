"""Textual inversion (Gal et al. 2022): a new word, whose vectors alone are learned.

The vectors stand where the word stands in a caption (section 4), several in a row for one word.
Promises: the model's weights and its tokenizer stay; the file is read by our own loader, A1111 and
diffusers, which all take one tensor of n x D.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from diffusion.model import Model
from diffusion.text import ClipEncoder, ClipStack
from diffusion.text.clip import inner
from diffusion.text.inversions import Inversions
from diffusion.train.state import write_atomically
from diffusion.train.tuning.recipe import Recipe, TuningError
from diffusion.train.tuning.subject import Subject
from diffusion.train.tuning.words import padded, states_of, vectors_at


class Vectors(nn.Module):
    """The n x D vectors of one word."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(start.clone())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """A word in training (a `Trainable`)."""

    subject: Subject
    recipe: Recipe
    word: Vectors

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained."""
        return {"inversion": self.word}

    @property
    def trains_text(self) -> bool:
        """Captions are encoded anew in every step."""
        return True

    def worded(self, caption: str) -> str:
        """Return the caption with the word in it, at its end where it is not there."""
        return caption if self._find(caption) else f"{caption}, {self.recipe.word}"

    def context(self, captions: Sequence[str]) -> Tensor:
        """Return N x T x D states, with gradients to the vectors."""
        encoder, count = self.subject.encoder, len(self.word.vectors)
        rows: list[list[int]] = []
        places: list[tuple[int, int]] = []
        for number, caption in enumerate(captions):
            match = self._find(caption)
            if match is None:
                rows.append(padded(encoder, encoder.tokens(caption)))
                continue
            # The word is kept whole when the caption is too long for it.
            room = encoder.config.window - 2 - count
            before = encoder.tokens(caption[: match.start()])[:room]
            after = encoder.tokens(caption[match.end() :])
            rows.append(padded(encoder, [*before, *[0] * count, *after]))
            places.append((number, 1 + len(before)))
        with vectors_at(encoder, places, self.word.vectors):
            return states_of(encoder, rows)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Change nothing: the vectors are put in where captions are encoded."""
        yield

    def for_painting(self, model: Model, folder: Path) -> Model:
        """Return a model that knows the word as it is now, through a file in `folder`."""
        path = folder / f"{self.recipe.word}.safetensors"
        weights = {"inversion.vectors": self.word.vectors}
        self.write(path, weights, {})
        files = Inversions({self.recipe.word: path}, (self.subject.encoder.config.width,))
        return replace(model, text=ClipStack([replace(self.subject.encoder, inversions=files)]))

    def write(self, out: Path, weights: Mapping[str, Tensor], notes: Mapping[str, str]) -> Path:
        """Write one tensor, n x D in float32, under the word."""
        vectors = weights["inversion.vectors"].detach().float().cpu()
        write_atomically(out, {self.recipe.word: vectors}, dict(notes))
        return out

    def _find(self, caption: str) -> re.Match[str] | None:
        # The rule by which prompts are read: see `text.inversions`.
        word = re.escape(self.recipe.word)
        pattern = rf"<{word}>|embedding:{word}(?![\w-])|(?<![\w-]){word}(?![\w-])"
        return re.search(pattern, caption, re.IGNORECASE)


def inversion(subject: Subject, recipe: Recipe) -> Inversion:
    """Start a word from the vectors of the tokens of `initial`, round and round.

    TuningError when the initial text has no tokens, or the vectors leave no room for a caption.
    """
    encoder = subject.encoder
    room = encoder.config.window - 2
    if recipe.vectors > room // 2:
        raise TuningError(
            f"vectors is {recipe.vectors}, and this model's captions have {room} tokens: use at "
            f"most {room // 2}."
        )
    return Inversion(subject=subject, recipe=recipe, word=Vectors(_start(encoder, recipe)))


@torch.no_grad()
def _start(encoder: ClipEncoder, recipe: Recipe) -> Tensor:
    tokens = encoder.tokens(recipe.initial)
    if not tokens:
        raise TuningError(f"initial is {recipe.initial!r:.40}; write a word or two to start from.")
    chosen = [tokens[number % len(tokens)] for number in range(recipe.vectors)]
    table = inner(encoder.model).embeddings.token_embedding.weight
    return table[torch.tensor(chosen, device=table.device)].float().clone()
