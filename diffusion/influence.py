"""How much each word of a prompt counts: the attention that a picture pays to it.

A short painting of the prompt from one fixed seed is listened to: every cross-attention says how it
spreads its attention over the tokens, which is averaged over positions, heads, layers and steps.
Promises: work that rests after every forward pass, so it runs beside other people's; the same
prompt always gives the same numbers; the network is left as it was. Begin, end and padding, which
soak up whatever attention nothing asks for, belong to no word.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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

STEPS: Final = 6
# Words counted between two rests.
_WORDS: Final = 32
# What no encoder hears: LoRA tags, and what joins and weighs the parts of a prompt.
_SILENT: Final = re.compile(r"<lora:[^<>]*>|::(?:[-+]?[0-9.]+)?|\bAND\b")

Listening = Generator[None, None, tuple[Influence, ...]]


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
    places = text.places(spoken)
    if places:
        ends = yield from _ends(text, spoken, spans)
        mass = yield from _mass(model, params, spoken)
        shares = _by_word(mass[places].tolist(), ends)
    total = sum(shares) or 1.0
    return tuple(
        Influence(prompt[start:end], start, end, share / total)
        for (start, end), share in zip(spans, shares, strict=True)
    )


def _ends(
    text: TextStack, spoken: str, spans: Sequence[tuple[int, int]]
) -> Generator[None, None, list[int | None]]:
    """Return for every word how many tokens the text has up to its end, None for a silent one."""
    ends: list[int | None] = []
    for start, end in spans:
        heard = bool(spoken[start:end].strip())
        ends.append(len(text.places(spoken[:end])) if heard else None)
        if not len(ends) % _WORDS:
            yield
    return ends


def _by_word(tokens: Sequence[float], ends: Sequence[int | None]) -> list[float]:
    """Add tokens up to words; words that are read as one, by the thesaurus, share alike."""
    shares = [0.0] * len(ends)
    before, got = 0, 0.0
    together: list[int] = []
    for word, until in enumerate(ends):
        if until is None:
            continue
        end = min(max(until, before), len(tokens))
        if end > before or not together:
            together, got = [], sum(tokens[before:end])
        together.append(word)
        before = end
        for each in together:
            shares[each] = got / len(together)
    return shares


def _mass(model: Model, params: Params, spoken: str) -> Generator[None, None, Tensor]:
    """Paint and listen: return the attention that every position of the context gets."""
    guide = _guide(model, params, spoken)
    plan = plan_for(model, params, has_image=False)
    started = yield from start_paintings(model, params, plan, (guide,), Inputs(), None)
    painting = cast(Painting, started[0])
    backbone = cast(UNet, model.backbone)
    conditions = [_there(model, condition) for condition in painting.conditions()]
    rows = [backbone.context_row(context) for context, _ in conditions]
    contexts = [torch.stack(parts) for parts in zip(*rows, strict=True)]
    heard: list[Tensor] = []
    while painting.waits:
        yield
        times = [backbone.time_row(painting.timestep(), a, guide.embedded) for _, a in conditions]
        x = torch.stack([painting.network_input()] * guide.rows).to(model.device, model.dtype)
        with borders(seamless=False), _listening(backbone, heard):
            output = backbone.run(x, torch.stack(times), contexts)
        painting.answer(painting.estimate(output.float().cpu()))
    return torch.stack(heard).mean(dim=0)


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
def _listening(backbone: nn.Module, heard: list[Tensor]) -> Iterator[None]:
    """Note how every cross-attention of the first row spreads over the context."""

    def note(module: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        x, keys, _ = inputs
        weights = cast(Attention, module).weights(x[:1], keys[:1])
        heard.append(weights.mean(dim=(0, 1, 2)).cpu())

    with ExitStack() as stack:
        for layer in backbone.modules():
            if isinstance(layer, TransformerBlock):
                stack.callback(layer.attn2.register_forward_pre_hook(note).remove)
        yield
