"""What a job needs beside forward passes: its prompts and pictures encoded, its paintings decoded.

Everything here is work that rests: generators that yield where somebody else's forward pass may go
between. Promises: what is computed depends on the job alone.
"""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from torch import Tensor

from diffusion.addons import Styles
from diffusion.checkpoints.finite import are_finite
from diffusion.conditions import Guide
from diffusion.errors import NumericalError
from diffusion.inputs import Inputs
from diffusion.job import Hint, Job, Pass
from diffusion.model import Model
from diffusion.params import Params
from diffusion.pixels import pictures_from, tensor_from
from diffusion.rows import hoist
from diffusion.slot_painting import closed_on_failure
from diffusion.spread import guides_for
from diffusion.starts import OVERLAP, TILE, WHOLE, second_start, start_paintings
from diffusion.text import Conditioning
from diffusion.tiles import in_tiles
from diffusion.transfer import landed

# Encoded prompts kept for the next job: people press buttons of the same prompt again and again.
_CONTEXTS: Final = 256
Work = Generator[None, None, None]


@dataclass(slots=True)
class Texts:
    """Encoded prompts, the least recently used forgotten first."""

    _found: OrderedDict[tuple[object, ...], Conditioning] = field(default_factory=OrderedDict)

    def encode(
        self, model: Model, prompts: tuple[str, ...], clip_skip: int, styles: Styles
    ) -> Conditioning:
        """Encode the prompts of one job together: they have one length."""
        key = (id(model), prompts, clip_skip, styles.text_key)
        if key not in self._found:
            with styles.on_text(model):
                self._found[key] = model.encode_prompts(prompts, clip_skip)
        self._found.move_to_end(key)
        if len(self._found) > _CONTEXTS:
            self._found.popitem(last=False)
        return self._found[key]


def larger(model: Model, params: Params) -> Params:
    """Return the params of a job's second pass, in multiples that the network can halve."""
    unit = model.info.size_multiple
    return replace(
        params,
        width=max(unit, round(params.width * params.hires / unit) * unit),
        height=max(unit, round(params.height * params.hires / unit) * unit),
    )


def prepare(
    job: Job,
    inputs: Inputs,
    noise: Tensor | None,
    answers: Sequence[Sequence[Tensor]],
    texts: Texts,
) -> Work:
    """Encode a job's prompts and pictures and start its paintings; `answers` are those that it
    goes on from.

    Raises ParamsError, CheckpointError.
    """
    model, params, styles = job.model, job.params, job.styles

    def guides(of: Params) -> tuple[Guide, ...]:
        def encode(prompts: Sequence[str]) -> Conditioning:
            return texts.encode(model, tuple(prompts), of.clip_skip, styles)

        return guides_for(model, of, encode, width=of.width, height=of.height)

    passes = []
    for plan in job.plans:
        of = params if plan is job.plans[0] else larger(model, params)
        hints = _hints(model, of, inputs)
        passes.append(Pass(params=of, plan=plan, guides=guides(of), hints=hints))
        yield
        if job.pools is not None:
            yield from hoist(job, passes[-1])
    first = passes[0]
    paintings = yield from start_paintings(
        model, params, first.plan, first.guides, inputs, noise, job.pools
    )
    with closed_on_failure(paintings):
        for painting, given in zip(paintings, answers, strict=False):
            for answer in given:
                painting.answer(answer)
            yield
        job.begin(passes, paintings)


def decode(job: Job, index: int, tile: int) -> Work:
    """Turn a finished painting into a picture, or into the start of its second pass.

    `tile` is the most latent positions a side that are decoded at once.
    """
    finished = job.paintings[index].finished
    if finished is None:
        raise RuntimeError("only finished paintings are decoded")
    tensor = yield from decoded(job.model, finished[None], tile, seamless=job.params.tile)
    picture = pictures_from(tensor)[0]
    following = job.next_pass(index)
    if following is None:
        job.pictures[index] = picture
        return
    yield
    job.paintings[index] = yield from second_start(
        job.model,
        following.params,
        following.plan,
        following.guides[index],
        picture,
        index,
        job.pools,
    )
    job.stages[index] += 1


def decoded(
    model: Model, latents: Tensor, tile: int, *, seamless: bool
) -> Generator[None, None, Tensor]:
    """Decode 1 x C x h x w latents to 1 x 3 x H x W on the CPU; large ones in tiles, with rests.

    Raises NumericalError rather than give a black picture, which is what no number looks like.
    """
    latents = latents.to(model.device, model.vae_dtype)
    side = max(latents.shape[-2:])
    whole = side <= min(WHOLE, tile)
    images = yield from in_tiles(
        model.vae.decode,
        latents,
        unit=1,
        tile=side if whole else min(TILE, tile),
        overlap=0 if whole else min(OVERLAP, min(TILE, tile) // 4),
        seamless=seamless,
    )
    images = yield from landed(images.float())
    if not are_finite(images.flatten()):
        raise NumericalError(
            f"the autoencoder of {model.info.name!r} gave numbers that are not finite; "
            "the admin may load it as float32."
        )
    return images


def _hints(model: Model, params: Params, inputs: Inputs) -> tuple[Hint, ...]:
    return tuple(
        Hint(
            control=control,
            network=model.addons.control(control.model, model),
            # Hints are pictures in [0, 1], not in [-1, 1] (Zhang et al. 2023).
            picture=((tensor_from(picture, width=params.width, height=params.height) + 1) / 2).to(
                model.device, model.dtype
            ),
        )
        for control, picture in zip(params.controls, inputs.hints, strict=True)
    )
