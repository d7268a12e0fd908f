"""Prompts to conditioning: tokens, the CLIP text transformer, chunks for long prompts.

Promises: a prompt's conditioning depends on that prompt alone, and no word is dropped: what does
not fit into one window of the text transformer runs in further windows, joined along the tokens
(AUTOMATIC1111's convention). Never knows guidance or samplers.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """Encoded prompts. context: N x T x D, one row a prompt. pooled: N x P, or None."""

    context: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Sizes of a CLIP text transformer; the defaults are ViT-L/14 of Stable Diffusion 1.

    `window` is the number of positions, begin and end token included.
    """

    vocab_size: int = 49408
    width: int = 768
    layers: int = 12
    heads: int = 12
    feed_forward: int = 3072
    window: int = 77
    activation: str = "quick_gelu"
    begin_id: int = 49406
    end_id: int = 49407
    pad_id: int = 49407


def build_text_model(config: TextConfig) -> CLIPTextModel:
    """Return an untrained CLIP text transformer (Radford et al. 2021, section 2.4)."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            max_position_embeddings=config.window,
            hidden_act=config.activation,
            projection_dim=config.width,
            bos_token_id=config.begin_id,
            eos_token_id=config.end_id,
            pad_token_id=config.pad_id,
        )
    )


class TextEncoder:
    """A tokenizer and a text transformer that turn prompts into conditioning."""

    def __init__(self, *, tokenizer: Tokenizer, model: CLIPTextModel, config: TextConfig) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.config = config
        # A fast tokenizer refuses to be used from two threads at once ("Already borrowed").
        self._lock = threading.Lock()

    def tokens(self, prompt: str) -> list[int]:
        """Return the token ids of a prompt, without begin, end and padding."""
        with self._lock:
            return list(self.tokenizer.encode(prompt, add_special_tokens=False).ids)

    def windows(self, ids: Sequence[int], count: int | None = None) -> list[list[int]]:
        """Cut ids into windows of begin, tokens, end and padding; at least `count` of them."""
        room = self.config.window - 2
        chunks = [list(ids[i : i + room]) for i in range(0, len(ids), room)] or [[]]
        chunks += [[]] * ((count or 0) - len(chunks))
        return [
            [self.config.begin_id, *chunk, self.config.end_id]
            + [self.config.pad_id] * (room - len(chunk))
            for chunk in chunks
        ]

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], clip_skip: int = 0) -> Conditioning:
        """Encode prompts to N x (windows x T) x D; all get as many windows as the longest needs.

        `clip_skip` k leaves out the last k layers; the final LayerNorm is applied all the same.
        pooled is the state at the end token of each prompt's first window.
        """
        layers = self.config.layers
        if not 0 <= clip_skip < layers:
            raise ValueError(f"clip_skip is {clip_skip}; this text encoder takes 0 to {layers - 1}")
        ids = [self.tokens(prompt) for prompt in prompts]
        room = self.config.window - 2
        count = max(1, *(-(-len(each) // room) for each in ids))
        windows = [window for each in ids for window in self.windows(each, count)]
        device = next(self.model.parameters()).device
        tokens = torch.tensor(windows, device=device)
        states = hidden_states(self.model, tokens)[layers - clip_skip]
        states = final_norm(self.model)(states)
        first_end = (tokens == self.config.end_id).int().argmax(dim=-1)
        pooled = states[torch.arange(len(states), device=device), first_end][::count]
        context = states.reshape(len(prompts), count * states.shape[1], states.shape[2])
        return Conditioning(context=context, pooled=pooled)


def hidden_states(model: CLIPTextModel, tokens: Tensor) -> tuple[Tensor, ...]:
    """Return the embeddings and every layer's output, N x T x D, without the final norm."""
    output = model(input_ids=tokens, output_hidden_states=True)
    return cast(tuple[Tensor, ...], output.hidden_states)


def final_norm(model: CLIPTextModel) -> nn.Module:
    """Return the final LayerNorm wherever this version of transformers keeps it."""
    inner = getattr(model, "text_model", model)
    return cast(nn.Module, inner.final_layer_norm)
