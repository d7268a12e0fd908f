"""One CLIP text transformer with its tokenizer: prompts in, states of every token out.

Promises: emphasis multiplies a token's states and leaves the window's mean as it was
(AUTOMATIC1111's rule), and changes no bit where no weight is set; the end token that is pooled is
found by its id, so ids beyond the vocabulary cannot mislead it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffusion.networks.configs import TextConfig
from diffusion.prompts import parse_emphasis
from diffusion.text.inversions import Inversions
from diffusion.text.thesaurus import Thesaurus
from diffusion.text.windows import Token, Window, cut

TextModel: TypeAlias = CLIPTextModel | CLIPTextModelWithProjection
_BREAK: Final = "BREAK"


def build_text_model(config: TextConfig) -> TextModel:
    """Return an untrained CLIP text transformer (Radford et al. 2021, section 2.4)."""
    sizes = CLIPTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.feed_forward,
        max_position_embeddings=config.window,
        hidden_act=config.activation,
        projection_dim=config.projection_dim or config.width,
        bos_token_id=config.begin_id,
        eos_token_id=config.end_id,
        pad_token_id=config.pad_id,
    )
    return CLIPTextModelWithProjection(sizes) if config.projection_dim else CLIPTextModel(sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """States of N prompts: N x (windows x T) x D, and the pooled state of each first window."""

    states: Tensor
    pooled: Tensor


@dataclass(slots=True, kw_only=True, eq=False)
class ClipEncoder:
    """A tokenizer and a text transformer. `place` is the encoder's number in its model, from 0.

    `thesaurus`, where the model brings one, says what to read for words that it does not know.
    """

    tokenizer: Tokenizer
    model: TextModel
    config: TextConfig
    inversions: Inversions = field(default_factory=Inversions)
    place: int = 0
    thesaurus: Thesaurus | None = None
    # A fast tokenizer refuses to be used from two threads at once ("Already borrowed").
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _comma: int | None = None

    def __post_init__(self) -> None:
        self._comma = self.tokenizer.token_to_id(",</w>")

    def tokens(self, prompt: str) -> list[int]:
        """Return the token ids of a text, without begin, end and padding; no syntax is read."""
        with self._lock:
            # Half a surrogate pair has no bytes to tokenise.
            text = prompt.encode("utf-8", "replace").decode("utf-8")
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def windows(self, prompt: str) -> list[Window]:
        """Read a prompt's emphasis, BREAK and embeddings, and cut it into windows."""
        tokens: list[Token] = []
        for text, weight in parse_emphasis(prompt):
            if text == _BREAK and weight < 0:
                tokens.append(Token(ends_window=True))
                continue
            for plain, vectors in self.inversions.split(text, self.place):
                if vectors is not None:
                    tokens.append(Token(vectors=vectors, weight=weight))
                    continue
                tokens += [
                    Token(id=i, weight=weight, is_comma=i == self._comma)
                    for i in self.tokens(self._read(plain))
                ]
        return cut(tokens, self.config.window - 2)

    def _read(self, plain: str) -> str:
        return plain if self.thesaurus is None else self.thesaurus.read(plain)

    def window_ids(self, prompt: str) -> list[list[int]]:
        """Return the ids of every window of a prompt: begin, tokens, end and padding."""
        return [self._ids(window) for window in self.windows(prompt)]

    @torch.inference_mode()
    def encode(self, prompts: Sequence[Sequence[Window]], clip_skip: int) -> Encoded:
        """Encode prompts that are cut into equally many windows."""
        if not 0 <= clip_skip < self.config.layers - self.config.skip:
            last = self.config.layers - self.config.skip - 1
            raise ValueError(f"clip_skip is {clip_skip}; this text encoder takes 0 to {last}")
        windows = [window for prompt in prompts for window in prompt]
        device = next(self.model.parameters()).device
        tokens = torch.tensor([self._ids(window) for window in windows], device=device)
        with self._lock, self._embedded(windows):
            output = self.model(input_ids=tokens, output_hidden_states=True)
        layer = self.config.layers - self.config.skip - clip_skip
        states = cast(Tensor, output.hidden_states[layer])
        if self.config.final_norm:
            states = final_norm(self.model)(states)
        states = _emphasised(states, windows)
        per_prompt = len(windows) // len(prompts)
        first = slice(None, None, per_prompt)
        pooled = self._pooled(output.last_hidden_state[first], tokens[first])
        return Encoded(
            states=states.reshape(len(prompts), per_prompt * states.shape[1], states.shape[2]),
            pooled=pooled,
        )

    def _ids(self, window: Window) -> list[int]:
        """Return a window's ids with begin, end and padding; embeddings stand as padding."""
        ids = [self.config.begin_id]
        for token in window.tokens:
            ids += [token.id] if token.vectors is None else [0] * len(token)
        ids.append(self.config.end_id)
        return ids + [self.config.pad_id] * (self.config.window - len(ids))

    def _pooled(self, last: Tensor, tokens: Tensor) -> Tensor:
        """Return the last, normed state at the first end token, projected where there is one."""
        end = (tokens == self.config.end_id).int().argmax(dim=-1)
        pooled = last[torch.arange(len(last), device=last.device), end]
        if isinstance(self.model, CLIPTextModelWithProjection):
            return cast(Tensor, self.model.text_projection(pooled))
        return pooled

    @contextmanager
    def _embedded(self, windows: Sequence[Window]) -> Iterator[None]:
        """Put embeddings in the place of their tokens' own vectors, for one forward pass."""
        places = _vector_places(windows)
        if not places:
            yield
            return

        def replace(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            del module, inputs
            changed = output.clone()
            for (row, column), vectors in places.items():
                changed[row, column : column + len(vectors)] = vectors.to(changed)
            return changed

        handle = inner(self.model).embeddings.token_embedding.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()


def _vector_places(windows: Sequence[Window]) -> Mapping[tuple[int, int], Tensor]:
    places = {}
    for row, window in enumerate(windows):
        column = 1
        for token in window.tokens:
            if token.vectors is not None:
                places[row, column] = token.vectors
            column += len(token)
    return places


def _emphasised(states: Tensor, windows: Sequence[Window]) -> Tensor:
    """Multiply states by their tokens' weights and restore each window's mean."""
    weights = torch.ones(states.shape[:2])
    for row, window in enumerate(windows):
        column = 1
        for token in window.tokens:
            weights[row, column : column + len(token)] = token.weight
            column += len(token)
    rows = (weights != 1).any(dim=1)
    if not bool(rows.any()):
        return states
    chosen = states[rows]
    before = chosen.mean(dim=(1, 2), keepdim=True)
    weighted = chosen * weights[rows].to(states)[:, :, None]
    result = states.clone()
    after = weighted.mean(dim=(1, 2), keepdim=True)
    # No factor restores a mean from nothing, as when every weight is 0.
    result[rows] = weighted * torch.where(after == 0, torch.ones_like(after), before / after)
    return result


def inner(model: TextModel) -> CLIPTextModel:
    """Return the module with embeddings, encoder and norm, wherever this transformers keeps it."""
    return cast(CLIPTextModel, getattr(model, "text_model", model))


def hidden_states(model: TextModel, tokens: Tensor) -> tuple[Tensor, ...]:
    """Return the embeddings and every layer's output, N x T x D, without the final norm."""
    output = model(input_ids=tokens, output_hidden_states=True)
    return cast(tuple[Tensor, ...], output.hidden_states)


def final_norm(model: TextModel) -> nn.Module:
    """Return the final LayerNorm wherever this version of transformers keeps it."""
    return cast(nn.Module, inner(model).final_layer_norm)
