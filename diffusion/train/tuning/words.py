"""Captions as what the U-Net takes: states of the text encoder, with or without gradients.

Promises: a caption's words are taken as they stand, brackets too (emphasis is what prompts have,
not captions); one window is read, and what is longer was told when the folder was read. The empty
caption gives what the model takes for an empty negative prompt. Never changes a weight.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion.networks.attention import timestep_embedding
from diffusion.text import ClipEncoder, final_norm, hidden_states
from diffusion.text.clip import inner
from diffusion.text.windows import Token, Window
from diffusion.train.tuning.subject import Subject

# Captions that are encoded at once.
_TOGETHER = 16


def count_tokens(encoder: ClipEncoder, caption: str) -> int:
    """Return the tokens of a caption, begin and end among them."""
    return len(encoder.tokens(caption)) + 2


def padded(encoder: ClipEncoder, tokens: Sequence[int]) -> list[int]:
    """Return one window of ids: begin, as many tokens as fit, end, padding."""
    config = encoder.config
    ids = [config.begin_id, *tokens[: config.window - 2], config.end_id]
    return ids + [config.pad_id] * (config.window - len(ids))


def states_of(encoder: ClipEncoder, ids: Sequence[Sequence[int]]) -> Tensor:
    """Return the states that are the conditioning, N x T x D, of N windows of ids; gradients reach
    the transformer where its weights want them.
    """
    device = next(encoder.model.parameters()).device
    config = encoder.config
    states = hidden_states(encoder.model, torch.tensor(ids, device=device))
    chosen = states[config.layers - config.skip]
    if config.final_norm:
        normed: Tensor = final_norm(encoder.model)(chosen)
        return normed
    return chosen


def captions_context(encoder: ClipEncoder, captions: Sequence[str]) -> Tensor:
    """Return N x T x D states of captions, with gradients."""
    return states_of(encoder, [padded(encoder, encoder.tokens(each)) for each in captions])


@contextmanager
def vectors_at(
    encoder: ClipEncoder, places: Sequence[tuple[int, int]], vectors: Tensor
) -> Iterator[None]:
    """Put n x D vectors into the text at (row, column) places, for the length of the block."""

    def replace(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        del module, inputs
        changed = output.clone()
        for row, column in places:
            changed[row, column : column + len(vectors)] = vectors.to(changed)
        return changed

    handle = inner(encoder.model).embeddings.token_embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """One caption, encoded. context: T x D; pooled: P, or None where the U-Net takes none."""

    context: Tensor
    pooled: Tensor | None


def encode_captions(subject: Subject, captions: Iterable[str]) -> Mapping[str, Encoded]:
    """Encode every distinct caption, and the empty one, once and without gradients."""
    texts = list(dict.fromkeys(["", *captions]))
    found: dict[str, Encoded] = {}
    for start in range(0, len(texts), _TOGETHER):
        part = texts[start : start + _TOGETHER]
        parts = [each.encode([[_window(each, t)] for t in part], 0) for each in subject.encoders]
        # Not views of what was made in inference mode: those may not take part in training.
        context = torch.cat([each.states for each in parts], dim=-1).clone()
        pooled = parts[-1].pooled.clone() if subject.has_sizes else None
        for number, text in enumerate(part):
            row = None if pooled is None else pooled[number]
            found[text] = Encoded(context=context[number], pooled=row)
    if subject.model.zero_empty_negative:
        empty = found[""]
        zeros = None if empty.pooled is None else torch.zeros_like(empty.pooled)
        found[""] = Encoded(context=torch.zeros_like(empty.context), pooled=zeros)
    return found


def _window(encoder: ClipEncoder, caption: str) -> Window:
    ids = encoder.tokens(caption)[: encoder.config.window - 2]
    return Window([Token(id=each) for each in ids])


def added_vector(subject: Subject, encoded: Sequence[Encoded], width: int, height: int) -> Tensor:
    """Return what Stable Diffusion XL is told beside the text (Podell et al. 2023, section 2.2), N
    x added_dim: the pooled states, and sinusoids of the size before and after cutting.
    """
    sizes = (float(height), float(width), 0.0, 0.0, float(height), float(width))
    waves = timestep_embedding(torch.tensor(sizes), subject.model.size_dim).flatten()
    rows = [each.pooled for each in encoded if each.pooled is not None]
    return torch.stack([torch.cat([row, waves.to(row)]) for row in rows])
