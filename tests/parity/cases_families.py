"""One picture or more of every family, in both layouts."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from tests.parity.cases import Case
from tests.parity.parts import class_table
from tests.parity.pipelines import LAYOUTS, Layout, system
from tests.parity.schedulers import scheduler
from tests.parity.shots import Shot, compare

# What pipelines without words, or image to image, are not told.
NO_SIZES: Mapping[str, Any] = {"width": None, "height": None, "latents": None}
WORDLESS: Mapping[str, Any] = {
    **NO_SIZES,
    "prompt": None,
    "guidance_scale": None,
    "batch_size": 2,
    "output_type": "np",
}
SEEDED = "both start from the seeds: the pipeline takes no latents"


class ByHand:
    """A class-conditional model in diffusers' own parts, which have no pipeline: Ho & Salimans'
    guidance around the U-Net, DDIM, then the first stage.
    """

    def __init__(self) -> None:
        parts = system("ldm-class").pipeline.components
        self.unet, self.first_stage = parts["unet"], parts["vqvae"]
        self.scheduler = parts["scheduler"]

    def __call__(
        self,
        *,
        prompt: list[str],
        num_inference_steps: int,
        guidance_scale: float,
        latents: torch.Tensor,
        **_: object,
    ) -> Any:  # noqa: ANN401 - like a pipeline's answer
        wanted = class_table()[[int(each) for each in prompt]][:, None]
        contexts = torch.cat([class_table()[[10] * len(prompt)][:, None], wanted])
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            both = self.unet(torch.cat([latents] * 2), t, encoder_hidden_states=contexts).sample
            nothing, chosen = both.chunk(2)
            guided = nothing + guidance_scale * (chosen - nothing)
            latents = self.scheduler.step(guided, t, latents).prev_sample
        images = self.first_stage.decode(latents / self.first_stage.config.scaling_factor).sample

        class Answer:
            pass

        answer: Any = Answer()
        answer.images = (images / 2 + 0.5).clamp(0, 1)
        return answer


def by_hand(layout: Layout) -> float:
    shot = Shot(prompt="3", negative_prompt=None)
    return compare("ldm-class", layout, shot, pipe=ByHand())


def ddpm(layout: Layout, variance: str) -> float:
    told = scheduler(
        "ddpm",
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        steps_offset=0,
        clip_sample=True,
        variance_type=variance,
    )
    shot = Shot(
        negative_prompt=None,
        steps=6,
        sampler="ddpm",
        width=16,
        height=16,
        starts_white=False,
        theirs=WORDLESS,
    )
    return compare("ddpm", layout, shot, scheduler=told)


def changed_xl(layout: Layout) -> float:
    pipe = system("sdxl").as_a("StableDiffusionXLImg2ImgPipeline")
    return compare("sdxl", layout, HALF, pipe=pipe)


FULL = Shot(steps=4, strength=1.0, masked=True, starts_white=False)
HALF = Shot(steps=6, strength=0.5, starts_white=False, theirs=NO_SIZES)
# Of every family: what is painted, the shot, and what the table says of it.
SHOTS: Mapping[str, Mapping[str, tuple[Shot, str]]] = {
    "sd1": {
        "text to image, 2 pictures": (Shot(), ""),
        "without guidance": (Shot(guidance_scale=1.0), ""),
        "a prompt as long as the window": (Shot(prompt="fox " * 75), ""),
    },
    "sd1-inpaint": {
        "9-channel inpainting, strength 1": (FULL, SEEDED),
        "9-channel inpainting, strength 0.5": (
            Shot(steps=6, strength=0.5, masked=True, starts_white=False),
            SEEDED,
        ),
    },
    "sd1-lcm": {
        "guidance embedding, 4 steps": (
            Shot(negative_prompt=None, sampler="lcm", guidance_scale=8.0),
            "",
        )
    },
    "sd2": {"epsilon": (Shot(), "")},
    "sd2-v": {
        "v-prediction, zero terminal SNR, trailing": (Shot(), ""),
        "the same with guidance rescale 0.7": (
            Shot(ours={"guidance_rescale": 0.7}, theirs={"guidance_rescale": 0.7}),
            "",
        ),
    },
    "sdxl": {
        "a negative prompt": (Shot(), ""),
        "no negative prompt: zeros": (Shot(negative_prompt=None), ""),
        "an empty negative prompt, encoded": (
            Shot(negative_prompt="", ours={"zero_negative": False}),
            'diffusers encodes "", zeros None; ours is the setting zero_negative',
        ),
    },
    "sdxl-inpaint": {"9-channel inpainting, strength 1": (FULL, SEEDED)},
    "sdxl-refiner": {
        "image to image, strength 0.5, aesthetic scores": (HALF, ""),
        "no negative prompt: encoded": (
            Shot(steps=6, strength=0.3, negative_prompt=None, starts_white=False, theirs=NO_SIZES),
            "",
        ),
    },
    "sdxl-turbo": {
        "1 step, trailing, no guidance": (
            Shot(
                negative_prompt=None,
                steps=1,
                sampler="euler_a",
                guidance_scale=1.0,
                theirs={"guidance_scale": 0.0},
            ),
            "guidance off is 0 there, 1 here",
        ),
        "3 steps, trailing, no guidance": (
            Shot(
                negative_prompt=None,
                steps=3,
                sampler="euler_a",
                guidance_scale=1.0,
                theirs={"guidance_scale": 0.0},
            ),
            "guidance off is 0 there, 1 here",
        ),
    },
    "ldm": {
        "text to image": (Shot(negative_prompt=None), ""),
        "without guidance": (Shot(negative_prompt=None, guidance_scale=1.0), ""),
    },
    "ldm-uncond": {
        "pictures without words": (
            Shot(
                negative_prompt=None,
                steps=6,
                width=64,
                height=64,
                starts_white=False,
                theirs=WORDLESS,
            ),
            SEEDED,
        )
    },
}


def cases() -> Iterator[Case]:
    """Return the pictures of every family in both layouts."""
    for family, shots in SHOTS.items():
        for layout in LAYOUTS:
            for what, (shot, note) in shots.items():
                measure = partial(_measure, family, layout, shot)
                yield Case(family=family, layout=layout, what=what, measure=measure, note=note)
    yield Case(
        family="ldm-class",
        layout="single",
        what="a class with guidance",
        measure=partial(by_hand, "single"),
        note="diffusers has no pipeline for it: its U-Net, scheduler and first stage in a loop",
    )
    for layout in LAYOUTS:
        yield Case(
            family="sdxl",
            layout=layout,
            what="image to image, strength 0.5",
            measure=partial(changed_xl, layout),
        )
        for variance in ("fixed_small", "fixed_large"):
            yield Case(
                family="ddpm",
                layout=layout,
                what=f"pixels, {variance}",
                measure=partial(ddpm, layout, variance),
                note=SEEDED,
            )


def _measure(family: str, layout: Layout, shot: Shot) -> float:
    return compare(family, layout, shot)
