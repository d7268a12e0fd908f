"""What a job's pictures are steered by: its prompts, encoded once, and how they are combined.

A *strand* is one condition of the prompt (one side of `AND`, one part of `a::2 b::1`), with its
weight and, where the prompt edits itself on the way (`[fox:wolf:0.5]`), one encoding a stage. A
row's *condition* is what one row of a forward pass takes: a context and, for the families that have
one, the vector added to the time embedding. Promises: equal prompts are encoded once; all contexts
of a job have the same number of tokens. Never knows noise or steps of samplers.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from diffusion.denoiser import combine, rescale_guidance
from diffusion.errors import ParamsError
from diffusion.model import Model
from diffusion.networks.attention import timestep_embedding
from diffusion.params import Params
from diffusion.prompts import Part, parse_prompt
from diffusion.text import Conditioning

# The refiner's scores for what is wanted and what is not, as its authors use it.
AESTHETIC_SCORE: Final = 6.0
NEGATIVE_AESTHETIC_SCORE: Final = 2.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """What one row is conditioned on. context: T x D or None; added: P or None."""

    context: Tensor | None
    added: Tensor | None

    @cached_property
    def digest(self) -> bytes:
        """The bits of both, in 16 bytes: equal ones are equal conditions, whoever's they are."""
        parts = [part for part in (self.context, self.added) if part is not None]
        data = hashlib.blake2b(digest_size=16)
        for part in parts:
            data.update(part.cpu().reshape(-1).view(torch.uint8).numpy().data)
        return data.digest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strand:
    """One weighted condition, as stages: each holds until its step, counted from 1."""

    weight: float
    stages: tuple[tuple[int, Condition], ...]

    def at(self, step: int) -> Condition:
        """Return the condition of a step, counted from 0."""
        for until, condition in self.stages:
            if step < until:
                return condition
        return self.stages[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guide:
    """All conditions of a job and how their predictions become one.

    `embedded` is the guidance that a distilled network takes as an input, w - 1, or None.
    """

    positives: tuple[Strand, ...]
    negative: Strand | None
    scale: float
    rescale: float
    embedded: float | None

    @property
    def rows(self) -> int:
        """Rows of one forward pass for one picture."""
        return len(self.positives) + (self.negative is not None)

    def at(self, step: int) -> list[Condition]:
        """Return every row's condition at a step, the negative one last."""
        negative = () if self.negative is None else (self.negative,)
        return [strand.at(step) for strand in (*self.positives, *negative)]

    def combine(self, outputs: Tensor) -> Tensor:
        """Return one prediction, C x h x w, from the rows' outputs, rows x C x h x w."""
        weighted = [(outputs[i], s.weight) for i, s in enumerate(self.positives)]
        if self.negative is None:
            first, weight = weighted[0]
            total = first if weight == 1 else first * weight
            for output, weight in weighted[1:]:
                total = total + output * weight
            return total
        guided = combine(outputs[-1], weighted, self.scale)
        if self.rescale == 0:
            return guided
        positive = combine(outputs[-1], weighted, 1.0)
        return rescale_guidance(guided, positive, self.rescale)


def guide_for(model: Model, params: Params, encode: Callable[[Sequence[str]], Conditioning],
              *, width: int, height: int) -> Guide:  # fmt: skip
    """Encode a job's prompts; `encode` is asked once, for every distinct text of the job.

    A model without words has one row, whatever the prompt: there is nothing to guide by.
    """
    if model.text is None:
        nothing = Condition(context=None, added=None)
        strand = Strand(weight=1.0, stages=((params.steps, nothing),))
        return Guide(positives=(strand,), negative=None, scale=1.0, rescale=0.0, embedded=None)
    positives = parse_prompt(params.prompt, params.steps).parts
    negatives = parse_prompt(params.negative_prompt, params.steps).parts
    if len(negatives) > 1:
        raise ParamsError(
            "negative_prompt", params.negative_prompt, "it is one condition: AND and :: do not fit"
        )
    # Distilled models count the guidance from none at all: w - 1 (Luo et al. 2023, as published).
    embedded = params.guidance_scale - 1 if model.guidance_embedded else None
    scale = 1.0 if embedded is not None else params.guidance_scale
    guided = scale != 1 or abs(sum(part.weight for part in positives) - 1) > 1e-9
    parts = (*positives, *negatives) if guided else positives
    texts = list(dict.fromkeys(text for part in parts for _, text in part.schedule))
    found = encode(texts)
    place = {text: i for i, text in enumerate(texts)}
    micro = Micro(model, width=width, height=height)

    def strand_of(part: Part, *, negative: bool) -> Strand:
        zeros = negative and _zeroed(model, params)
        stages = tuple(
            (until, micro.condition(found, place[text], negative=negative, zeros=zeros))
            for until, text in part.schedule
        )
        return Strand(weight=part.weight, stages=stages)

    return Guide(
        positives=tuple(strand_of(part, negative=False) for part in positives),
        negative=strand_of(negatives[0], negative=True) if guided else None,
        scale=scale,
        rescale=params.guidance_rescale,
        embedded=embedded,
    )


def _zeroed(model: Model, params: Params) -> bool:
    """Whether the negative condition is zeros instead of the encoded empty text."""
    if params.negative_prompt:
        return False
    own = model.zero_empty_negative
    return own if params.zero_negative is None else params.zero_negative


class Micro:
    """The sizes that Stable Diffusion XL is conditioned on (Podell et al. 2023, section 2.2)."""

    def __init__(self, model: Model, *, width: int, height: int) -> None:
        self._model = model
        sizes = (float(height), float(width), 0.0, 0.0)
        self._numbers = {
            "none": ((), ()),
            "sizes": ((*sizes, *sizes[:2]),) * 2,
            "aesthetic": ((*sizes, AESTHETIC_SCORE), (*sizes, NEGATIVE_AESTHETIC_SCORE)),
        }[model.micro_conditioning]

    def condition(
        self, found: Conditioning, index: int, *, negative: bool = False, zeros: bool = False
    ) -> Condition:
        """Return the condition of one encoded text; `zeros` stands for an empty one."""
        context = found.context[index]
        if zeros:
            context = torch.zeros_like(context)
        numbers = self._numbers[negative]
        if not numbers:
            return Condition(context=context, added=None)
        if found.pooled is None:
            raise RuntimeError("this family's text encoders give a pooled state")
        pooled = found.pooled[index]
        if zeros:
            pooled = torch.zeros_like(pooled)
        values = torch.tensor(numbers, device=pooled.device)
        sinusoids = timestep_embedding(values, self._model.size_dim).flatten()
        return Condition(context=context, added=torch.cat([pooled, sinusoids.to(pooled.dtype)]))
