"""Text stacks: what turns a model's prompts into its conditioning.

Promises: one call, `encode`; all prompts of a call get equally many windows, so their contexts have
one length. Which states are used, and how two encoders are joined, is the family's convention.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from diffusion.errors import CheckpointError, ParamsError
from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import BERTConfig, TextConfig
from diffusion.prompts import BREAK, parse_emphasis
from diffusion.text.clip import ClipEncoder, TextModel
from diffusion.text.conditioning import Conditioning
from diffusion.text.inversions import Inversions
from diffusion.text.thesaurus import Thesaurus
from diffusion.text.windows import Window

_CLS: Final = "[CLS]"
_SEP: Final = "[SEP]"


class TextStack(Protocol):
    """What a model needs of its text side. `encoders`: the CLIP transformers, if any."""

    @property
    def encoders(self) -> Sequence[ClipEncoder]:
        """Return the CLIP transformers in their order."""

    def encode(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Encode prompts; `clip_skip` k leaves out k further layers of each CLIP transformer."""

    def places(self, prompt: str) -> list[int]:
        """Return where the tokens of a prompt stand in its context, in their order."""


class ClipStack:
    """One or two CLIP text transformers whose states are joined along their features.

    `pools`: pooled is the last encoder's (Stable Diffusion XL); otherwise it is the only one's.
    """

    def __init__(self, encoders: Sequence[ClipEncoder]) -> None:
        self._encoders = tuple(encoders)

    @property
    def encoders(self) -> Sequence[ClipEncoder]:
        """Return the transformers in their order."""
        return self._encoders

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Encode prompts to N x (windows x T) x D; all get as many windows as the longest needs.

        pooled is the last transformer's state at the end token of each prompt's first window.
        """
        cuts = [[encoder.windows(prompt) for prompt in prompts] for encoder in self._encoders]
        count = max(len(windows) for each in cuts for windows in each)
        encoded = [
            encoder.encode([_padded(windows, count) for windows in each], clip_skip)
            for encoder, each in zip(self._encoders, cuts, strict=True)
        ]
        return Conditioning(
            context=torch.cat([each.states for each in encoded], dim=-1),
            pooled=encoded[-1].pooled,
        )

    def places(self, prompt: str) -> list[int]:
        """Return where the tokens of a prompt stand in its context, begin and end left out."""
        first = self._encoders[0]
        return [
            number * first.config.window + 1 + place
            for number, window in enumerate(first.windows(prompt))
            for place in range(window.length)
        ]


def _padded(windows: list[Window], count: int) -> list[Window]:
    return windows + [Window() for _ in range(count - len(windows))]


class TextEncoder(ClipStack):
    """The stack of one CLIP transformer: Stable Diffusion 1 and 2, and the shipped model."""

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        model: TextModel,
        config: TextConfig,
        thesaurus: Thesaurus | None = None,
        inversions: Inversions | None = None,
    ) -> None:
        encoder = ClipEncoder(
            tokenizer=tokenizer,
            model=model,
            config=config,
            thesaurus=thesaurus,
            inversions=inversions or Inversions(),
        )
        super().__init__([encoder])

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer."""
        return self.encoders[0].tokenizer

    @property
    def model(self) -> TextModel:
        """Return the transformer."""
        return self.encoders[0].model

    @property
    def config(self) -> TextConfig:
        """Return the transformer's sizes."""
        return self.encoders[0].config

    def tokens(self, prompt: str) -> list[int]:
        """Return the token ids of a text, without begin, end and padding."""
        return self.encoders[0].tokens(prompt)

    def window_ids(self, prompt: str) -> list[list[int]]:
        """Return the ids of every window of a prompt: begin, tokens, end and padding."""
        return self.encoders[0].window_ids(prompt)


class BertStack:
    """The text side of the original latent diffusion model (Rombach et al. 2022).

    Its window is cut off, as in the original: its transformer has absolute positions and was never
    shown more than one. Emphasis has no meaning to it; the words are read without their brackets.
    """

    def __init__(self, *, tokenizer: Tokenizer, model: BERTTransformer, config: BERTConfig) -> None:
        self._tokenizer = tokenizer
        self.model = model
        self.config = config
        marks = [tokenizer.token_to_id(name) for name in (_CLS, _SEP)]
        if None in marks:
            raise CheckpointError(f"the tokenizer has no {_CLS} and {_SEP}: it is none of BERT's")
        self._marks = [mark for mark in marks if mark is not None]

    @property
    def encoders(self) -> Sequence[ClipEncoder]:
        """Return nothing: there is no CLIP transformer."""
        return ()

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Encode prompts to N x window x D; ParamsError for a `clip_skip`, which it has not."""
        if clip_skip:
            raise ParamsError("clip_skip", clip_skip, "this model's text encoder skips no layers")
        device = next(self.model.parameters()).device
        ids = torch.tensor([self._ids(prompt) for prompt in prompts], device=device)
        return Conditioning(context=self.model(ids))

    def places(self, prompt: str) -> list[int]:
        """Return where the tokens of a prompt stand in its context, as far as it is read."""
        return list(range(1, 1 + len(self._words(prompt))))

    def _words(self, prompt: str) -> list[int]:
        plain = "".join(" " if piece == BREAK else piece[0] for piece in parse_emphasis(prompt))
        words = self._tokenizer.encode(plain, add_special_tokens=False).ids
        return list(words[: self.config.window - 2])

    def _ids(self, prompt: str) -> list[int]:
        ids = [self._marks[0], *self._words(prompt), self._marks[1]]
        return ids + [0] * (self.config.window - len(ids))


class ClassStack:
    """The conditioning of a class-conditional model: one vector of a table.

    A prompt is the number of a class; the empty prompt is the last one, "none of them".
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        self.embedding = embedding

    @property
    def encoders(self) -> Sequence[ClipEncoder]:
        """Return nothing: there is no text transformer."""
        return ()

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Look up N classes as N x 1 x D; ParamsError for what is no class."""
        if clip_skip:
            raise ParamsError("clip_skip", clip_skip, "this model has no text encoder")
        numbers = torch.tensor([[self._class(prompt)] for prompt in prompts])
        context: Tensor = self.embedding(numbers.to(self.embedding.weight.device))
        return Conditioning(context=context)

    def places(self, prompt: str) -> list[int]:
        """Return nothing: a class has no words."""
        del prompt
        return []

    def _class(self, prompt: str) -> int:
        last = self.embedding.num_embeddings - 1
        text = prompt.strip()
        if not text:
            return last
        if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= last):
            raise ParamsError("prompt", prompt, f"this model paints classes: a number, 0 to {last}")
        return int(text)
