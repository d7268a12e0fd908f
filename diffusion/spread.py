"""One guide for every picture of a job: the same for all, shaken (`chaos`), or on the way from one
prompt to the next (`morph`).

Promises: the first picture's guide is never shaken, and without chaos and morph all are one guide;
what belongs to picture i depends on the job's params and i alone, so it has the same bits in any
company. Never draws from a picture's own noise.

## How chaos shakes
With c = chaos / 100, picture i > 0 takes u from -1 to 1 and, for every condition, one random
direction for each token, from a generator keyed by seed + i. Its guidance w becomes 1 + (w - 1)
(1 + 0.6 c u), which never turns it off. Every token is turned by an angle of at most 1.4 sqrt(c)
towards its direction, its length kept: all of it for the first steps, where the picture's
composition is settled, then less, and not at all at the end, where the true words say what it shows
(the idea of condition annealing: Sadat et al. 2024, "CADS"). The negative prompt stays as it is.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diffusion.conditions import Condition, Guide, Micro, Strand, guide_for
from diffusion.errors import ParamsError
from diffusion.model import Model
from diffusion.params import MAX_CHAOS, Params
from diffusion.prompts import parse_prompt
from diffusion.slerp import slerp_conditioning
from diffusion.text import Conditioning
from diffusion.transfer import upload

# At full chaos, chosen by eye on the shipped model: more loses the prompt, less is hardly seen. The
# root spreads what is seen over the range: angles below one radian change little.
GUIDANCE_SWING: Final = 0.6
WIDEST_ANGLE: Final = 1.4
# Shares of the steps, and how much of the angle is left until there; none after the last.
STAGES: Final = ((0.3, 1.0), (0.6, 0.7), (0.8, 0.4))

Encode: TypeAlias = Callable[[Sequence[str]], Conditioning]


def guides_for(
    model: Model, params: Params, encode: Encode, *, width: int, height: int
) -> tuple[Guide, ...]:
    """Encode a job's prompts and return every picture's guide; `encode` is asked once. Raises
    ParamsError.
    """
    if params.morph:
        guides = _morphed(model, params, encode, width=width, height=height)
    else:
        guide = guide_for(model, params, encode, width=width, height=height)
        guides = (guide,) * params.images
    if not params.chaos:
        return guides
    return tuple(
        _shaken(guide, params, index) if index else guide for index, guide in enumerate(guides)
    )


def _morphed(
    model: Model, params: Params, encode: Encode, *, width: int, height: int
) -> tuple[Guide, ...]:
    if model.text is None:
        raise ParamsError("morph", params.morph, f"{model.info.name} paints without words")
    first = _plain("prompt", params.prompt, params.steps)
    phrases = (first, *(_plain("morph", phrase, params.steps) for phrase in params.morph))
    encoded: dict[str, Conditioning] = {}

    def together(wanted: Sequence[str]) -> Conditioning:
        texts = list(dict.fromkeys((*wanted, *phrases)))
        found = encode(texts)
        encoded.update((text, _row(found, i)) for i, text in enumerate(texts))
        # Those that are wanted are its first rows.
        return found

    base = guide_for(model, params, together, width=width, height=height)
    micro = Micro(model, width=width, height=height)
    legs = [(encoded[a], encoded[b]) for a, b in pairwise(phrases)]
    last = params.images - 1
    guides = []
    for index in range(params.images):
        leg, rest = divmod(index * len(legs), last)
        (start, end), share = (legs[leg], rest / last) if index < last else (legs[-1], 1.0)
        condition = micro.condition(slerp_conditioning(start, end, share), 0)
        strand = Strand(weight=1.0, stages=((params.steps, condition),))
        guides.append(replace(base, positives=(strand,)))
    return tuple(guides)


def _plain(field: str, text: str, steps: int) -> str:
    """Return what is encoded for a prompt that is one unchanging condition."""
    parsed = parse_prompt(text, steps)
    if len(parsed.parts) > 1:
        raise ParamsError(
            field, text, "in a morph a prompt is one condition: AND and :: do not fit"
        )
    if len(parsed.parts[0].schedule) > 1:
        raise ParamsError(field, text, "in a morph a prompt cannot edit itself on the way")
    if parsed.loras and field == "morph":
        raise ParamsError(field, text, "a LoRA holds for all of a morph: put it into the prompt")
    return parsed.parts[0].schedule[0][1]


def _row(found: Conditioning, index: int) -> Conditioning:
    pooled = None if found.pooled is None else found.pooled[index : index + 1]
    return Conditioning(context=found.context[index : index + 1], pooled=pooled)


def _shaken(guide: Guide, params: Params, index: int) -> Guide:
    share = params.chaos / MAX_CHAOS
    key = hashlib.blake2b(f"chaos/{params.seed + index}".encode(), digest_size=8).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(key, "big") >> 1)
    swing = 2 * float(torch.rand((), generator=generator)) - 1
    factor = 1 + GUIDANCE_SWING * share * swing
    return replace(
        guide,
        positives=tuple(
            _turned(strand, params.steps, WIDEST_ANGLE * math.sqrt(share), generator)
            for strand in guide.positives
        ),
        scale=1 + (guide.scale - 1) * factor,
        embedded=None if guide.embedded is None else guide.embedded * factor,
    )


def _turned(strand: Strand, steps: int, angle: float, generator: torch.Generator) -> Strand:
    """Return a strand whose conditions are turned away at first and come back."""
    context = strand.stages[0][1].context
    if context is None:
        return strand
    (noise,) = upload(context.device, torch.randn(context.shape, generator=generator))
    stages: list[tuple[int, Condition]] = []
    begin = 0
    for until, own in strand.stages:
        for share, part in STAGES:
            end = min(until, max(1, round(share * steps)))
            if end > begin:
                stages.append((end, _away(own, noise, angle * part)))
                begin = end
        if until > begin:
            stages.append((until, own))
            begin = until
    return replace(strand, stages=tuple(stages))


def _away(condition: Condition, noise: Tensor, angle: float) -> Condition:
    if condition.context is None:
        return condition
    own = condition.context.float()
    along = normalize(own, dim=-1)
    across = normalize(noise - (noise * along).sum(-1, keepdim=True) * along, dim=-1)
    length = own.norm(dim=-1, keepdim=True)
    turned = math.cos(angle) * own + math.sin(angle) * length * across
    return Condition(context=turned.to(condition.context.dtype), added=condition.added)
