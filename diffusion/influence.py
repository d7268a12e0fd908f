"""How much each word of a prompt counts: what cross-attention would miss without it.

A short painting of the prompt from one fixed seed is listened to. Every cross-attention is then
asked the same questions about the prompt without one of its words, encoded anew; how far its output
moves, beside how large it is, is averaged over positions, layers and steps. Encoded anew, because
the text encoder tells every later token, the end and the padding of a word: how much attention the
word's own tokens get says little about what the picture would lose (`tests.benchmarks.influence`
compares both with pictures painted without each word). Of what else a text reaches, the pooled
state of Stable Diffusion XL, nothing is said.
Promises: work that rests after every forward pass, so it runs beside other people's; the same
prompt always gives the same numbers; the network is left as it was.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Final, cast

import torch
from torch import Tensor, nn

from diffusion.conditions import Condition, Guide, Micro, Strand
from diffusion.errors import AbilityError
from diffusion.inputs import Inputs
from diffusion.model import Model
from diffusion.networks.attention import Attention, TransformerBlock
from diffusion.networks.convolution import borders
from diffusion.networks.unet import UNet
from diffusion.painting import Painting
from diffusion.params import Params
from diffusion.plan import plan_for
from diffusion.starts import start_paintings
from diffusion.text import TextStack
from diffusion.words import Influence, words_of

STEPS: Final = 3
# Words counted between two rests.
_WORDS: Final = 32
# Prompts that are looked into at most; of a longer one, neighbouring words are measured together.
_MOST: Final = 64
# Prompts without a word that are looked into between two rests.
_TOGETHER: Final = 8
# Positions of a layer whose questions are kept: more say the same.
_POSITIONS: Final = 256
# What no encoder hears: LoRA tags, and what joins and weighs the parts of a prompt.
_SILENT: Final = re.compile(r"<lora:[^<>]*>|::(?:[-+]?[0-9.]+)?|\bAND\b")
# What stays of a word that is taken out: its part in weighing others.
_FRAME: Final = re.compile(r"\\.|(:\s*[+-]?[.\d]+\s*\)|[()\[\]])|.")

Listening = Generator[None, None, tuple[Influence, ...]]
# A cross-attention and what it was asked, 1 x L x dim.
Asked = tuple[Attention, Tensor]


def listen_params(model: Model, prompt: str) -> Params:
    """Return the params of the painting that is listened to; AbilityError without words."""
    if model.text is None or not isinstance(model.backbone, UNet):
        raise AbilityError(f"{model.info.name} paints without words: none of them can count.")
    info = model.info
    return Params(
        prompt=prompt,
        steps=STEPS,
        images=1,
        width=info.native_width,
        height=info.native_height,
        guidance_scale=info.defaults.guidance_scale,
    )


def influence_of(model: Model, params: Params) -> Listening:
    """Return how much each word of a prompt counts, with rests; `params` are `listen_params`."""
    text, prompt = cast(TextStack, model.text), params.prompt
    spoken = _SILENT.sub(lambda match: " " * len(match[0]), prompt)
    spans = words_of(prompt)
    shares = [0.0] * len(spans)
    groups = yield from _groups(text, spoken, spans)
    if groups:
        lacking = [_without(spoken, [spans[word] for word in group]) for group in groups]
        changes = yield from _changes(model, params, spoken, lacking)
        for group, change in zip(groups, changes.tolist(), strict=True):
            for word in group:
                shares[word] = change / len(group)
    total = sum(shares) or 1.0
    return tuple(
        Influence(prompt[start:end], start, end, share / total)
        for (start, end), share in zip(spans, shares, strict=True)
    )


def _groups(
    text: TextStack, spoken: str, spans: Sequence[tuple[int, int]]
) -> Generator[None, None, list[list[int]]]:
    """Return the words that are heard; those that are read as one, by the thesaurus, together, and
    of very many words neighbours.
    """
    groups: list[list[int]] = []
    ends: list[int] = []
    for word, (start, end) in enumerate(spans):
        if not word % _WORDS:
            yield
        if not spoken[start:end].strip():
            continue
        until, group = len(text.places(spoken[:end])), [word]
        # What is read for several words has fewer tokens than they have one by one.
        while ends and ends[-1] >= until:
            ends.pop()
            group = groups.pop() + group
        groups.append(group)
        ends.append(until)
    size = max(1, -(-len(groups) // _MOST))
    return [[*chain(*groups[at : at + size])] for at in range(0, len(groups), size)]


def _without(spoken: str, spans: Sequence[tuple[int, int]]) -> str:
    """Take words out of a prompt; brackets and weights, which may be other words' too, stay."""
    for start, end in reversed(spans):
        spoken = spoken[:start] + _FRAME.sub(r"\1", spoken[start:end]) + spoken[end:]
    return " ".join(spoken.split())


def _changes(
    model: Model, params: Params, spoken: str, lacking: Sequence[str]
) -> Generator[None, None, Tensor]:
    """Return how far the attention moves for each of the `lacking` prompts."""
    contexts: list[Tensor] = []
    for start in range(0, len(lacking), _TOGETHER):
        yield
        found = model.encode_prompts([spoken, *lacking[start : start + _TOGETHER]])
        contexts.append(found.context.to(model.device, model.dtype))
    guide = _guide(model, params, spoken)
    plan = plan_for(model, params, has_image=False)
    started = yield from start_paintings(model, params, plan, (guide,), Inputs(), None)
    total = torch.zeros(len(lacking), device=model.device)
    for asked in _asked(model, cast(Painting, started[0])):
        for number, part in enumerate(contexts):
            yield
            here = total[number * _TOGETHER : (number + 1) * _TOGETHER]
            for layer, x in asked:
                here += _moved(layer, x, part)
        yield
    return total.cpu()


def _asked(model: Model, painting: Painting) -> Iterator[list[Asked]]:
    """Paint and listen: yield what every cross-attention was asked in every forward pass."""
    guide = painting.guide
    backbone = cast(UNet, model.backbone)
    conditions = [_there(model, condition) for condition in painting.conditions()]
    rows = [backbone.context_row(context) for context, _ in conditions]
    contexts = [torch.stack(parts) for parts in zip(*rows, strict=True)]
    while painting.waits:
        times = [backbone.time_row(painting.timestep(), a, guide.embedded) for _, a in conditions]
        x = torch.stack([painting.network_input()] * guide.rows).to(model.device, model.dtype)
        asked: list[Asked] = []
        with borders(seamless=False), _listening(backbone, asked):
            output = backbone.run(x, torch.stack(times), contexts)
        painting.answer(painting.estimate(output.float().cpu()))
        yield asked


def _moved(layer: Attention, x: Tensor, contexts: Tensor) -> Tensor:
    """Return how far a layer's output for 1 x L x dim queries moves from that of the first context
    for each of the others, as a part of it.
    """
    keys, values = layer.keys_values(contexts)
    outputs: Tensor = layer(x.expand(len(contexts), -1, -1), keys, values).float()
    far = (outputs[1:] - outputs[:1]).norm(dim=-1).mean(dim=-1)
    size = outputs[0].norm(dim=-1).mean().clamp_min(1e-6)
    return cast(Tensor, far / size)


def _guide(model: Model, params: Params, spoken: str) -> Guide:
    """Return the guide of a prompt that is one condition, whatever is written in it."""
    found = model.encode_prompts([spoken, ""])
    micro = Micro(model, width=params.width, height=params.height)

    def strand(index: int, *, negative: bool) -> Strand:
        zeros = negative and model.zero_empty_negative
        condition = micro.condition(found, index, negative=negative, zeros=zeros)
        return Strand(weight=1.0, stages=((params.steps, condition),))

    scale = params.guidance_scale
    guided = scale != 1 and not model.guidance_embedded
    return Guide(
        positives=(strand(0, negative=False),),
        negative=strand(1, negative=True) if guided else None,
        scale=scale if guided else 1.0,
        rescale=0.0,
        embedded=scale - 1 if model.guidance_embedded else None,
    )


def _there(model: Model, condition: Condition) -> tuple[Tensor, Tensor | None]:
    if condition.context is None:
        raise RuntimeError("a network that reads words has a context")
    added = condition.added
    return (
        condition.context.to(model.device, model.dtype),
        None if added is None else added.to(model.device, model.dtype),
    )


@contextmanager
def _listening(backbone: nn.Module, asked: list[Asked]) -> Iterator[None]:
    """Note what the first row asks every cross-attention."""

    def note(module: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        x = inputs[0]
        every = max(1, x.shape[1] // _POSITIONS)
        asked.append((cast(Attention, module), x[:1, ::every].clone()))

    with ExitStack() as stack:
        for layer in backbone.modules():
            if isinstance(layer, TransformerBlock):
                stack.callback(layer.attn2.register_forward_pre_hook(note).remove)
        yield
