"""Pictures that start from a picture: image to image, inpainting by mask with networks of four
channels, inpainting networks. Every sampler, at several strengths, spacings and predictions.

Both sides draw from the seeds: the posterior, the noise, then what the sampler draws on its way.
Inpainting, diffusers draws one posterior more in between, of the picture without what is painted
anew. A network of four channels is not shown it: there it is handed an empty one instead.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch

from tests.parity.cases import Case
from tests.parity.cases_samplers import limit_of, note_on
from tests.parity.pipelines import system
from tests.parity.schedulers import (
    BY_SIGMA,
    CLASSES,
    lead_lms,
    lead_plms,
    noised_in_the_middle,
    on_its_own_timesteps,
    predictions,
    scheduler,
    spacings,
    strays,
)
from tests.parity.shots import Shot, compare

IMG2IMG = "StableDiffusionImg2ImgPipeline"
CONSISTENT = "LatentConsistencyModelImg2ImgPipeline"
INPAINT: Mapping[str, str] = {
    "sd1": "StableDiffusionInpaintPipeline",
    "sd1-inpaint": "StableDiffusionInpaintPipeline",
    "sdxl": "StableDiffusionXLInpaintPipeline",
}
LED = {"plms": lead_plms, "lms": lead_lms}
STRENGTHS = (0.3, 0.5, 0.8, 1.0)
STEPS = 6
# What the default suite paints at every strength, too.
OFTEN = ("ddim", "euler_a", "dpmpp_2m")
BEGUN = "diffusers is led to begin in the middle as it begins at the top"
UNSEEN = (
    "diffusers is handed the masked picture's latents, for which it draws and which nobody sees"
)
# dpm2_a asks at the step's end, but for rounding.
MIDDLE = ("dpm2", "dpmpp_sde")
MIDDLES = "where diffusers asks in the middle of a step it noises what is kept to that level, too"

Start = Literal["image to image", "inpainting by mask", "9-channel inpainting"]


def started(
    start: Start, name: str, sampler: str, strength: float, spacing: str, prediction_type: str
) -> float:
    """Compare a picture that starts from another."""
    theirs: dict[str, Any] = {"eta": 0.3} if sampler == "tcd" else {}
    if start == "image to image":
        theirs |= {"width": None, "height": None}
    elif start == "inpainting by mask":
        theirs |= {"masked_image_latents": torch.zeros(2, 4, 8, 12)}
    shot = Shot(
        sampler=sampler,
        steps=STEPS,
        strength=strength,
        schedule=spacing if spacing in BY_SIGMA else "uniform",
        masked=start != "image to image",
        starts_white=False,
        theirs=theirs,
    )
    told = scheduler(sampler, spacing=spacing, prediction_type=prediction_type)
    if strays(sampler, spacing, STEPS):
        told = on_its_own_timesteps(told)
    if start == "inpainting by mask" and sampler in MIDDLE:
        told = noised_in_the_middle(told)
    pipe = system(name).as_a(INPAINT[name] if shot.masked else IMG2IMG)
    pipe.scheduler = told
    if sampler in LED:
        LED[sampler](pipe)
    return compare(name, "folder", shot, pipe=pipe, scheduler=told)


def consistent(sampler: str, strength: float, steps: int) -> float:
    """Compare with the pipeline that cuts the grid of consistency models before it is spread.

    diffusers' LCM and TCD, told a strength s, spread all N steps over the lowest int(50 s) of the
    grid's 50 timesteps; its other pipelines, and we, run the last int(N s) of N steps. Both visit
    the same timesteps where it is told N s steps and N s and 50 s are whole; elsewhere they differ
    by design.
    """
    shot = Shot(
        sampler=sampler,
        steps=steps,
        strength=strength,
        negative_prompt=None,
        guidance_scale=8.0,
        starts_white=False,
        theirs={"width": None, "height": None, "num_inference_steps": round(steps * strength)},
    )
    pipe = system("sd1-lcm").as_a(CONSISTENT)
    if sampler == "tcd":
        # Made for LCM, which has none, the pipeline passes an eta of None.
        pipe.prepare_extra_step_kwargs = lambda generator, _: {"generator": generator, "eta": 0.3}
    return compare("sd1-lcm", "folder", shot, pipe=pipe, scheduler=scheduler(sampler))


def cases() -> Iterator[Case]:
    """Return them all; by default each sampler at one strength, a few at every strength."""
    starts: tuple[Start, ...] = ("image to image", "inpainting by mask")
    for number, sampler in enumerate(CLASSES):
        often = sampler in OFTEN
        for strength in STRENGTHS:
            yield _case(starts[0], "sd1", sampler, strength, slow=strength != 0.5 and not often)
        for strength in (0.5, 1.0):
            yield _case(starts[1], "sd1", sampler, strength, slow=strength == 1 and not often)
            slow = sampler != "euler" and (sampler, strength) != ("euler_a", 0.5)
            yield _case(starts[1], "sdxl", sampler, strength, slow=slow)
        slow = sampler != "euler_a"
        yield _case("9-channel inpainting", "sd1-inpaint", sampler, 0.5, slow=slow)
        grid = [(s, p) for s in spacings(sampler) for p in predictions(sampler)][1:]
        for spacing, prediction in grid:
            usual = often and (spacing, prediction) == grid[(4 + number) % len(grid)]
            for start in starts:
                yield _case(start, "sd1", sampler, 0.5, spacing, prediction, slow=not usual)
    for sampler in ("lcm", "tcd"):
        for strength, steps in ((0.3, 10), (0.5, 6), (0.8, 5), (1.0, 4)):
            run = round(steps * strength)
            yield Case(
                family="sd1-lcm",
                layout="folder",
                what=f"image to image, {sampler}, the last {run} of {steps} steps",
                measure=partial(consistent, sampler, strength, steps),
                note=f"its pipeline spreads its steps over the strength's part: told {run}",
                slow=strength != 0.5,
            )


def _case(
    start: Start,
    name: str,
    sampler: str,
    strength: float,
    spacing: str = "leading",
    prediction: str = "epsilon",
    *,
    slow: bool,
) -> Case:
    notes = [note_on(sampler, spacing, prediction=prediction, steps=STEPS)]
    if sampler in LED:
        notes.append(BEGUN)
    if start == "inpainting by mask":
        notes.append(UNSEEN)
        if sampler in MIDDLE:
            notes.append(MIDDLES)
    what = f"{start}, {sampler}, strength {strength}"
    if (spacing, prediction) != ("leading", "epsilon"):
        what = f"{what}, {prediction}, {spacing}"
    return Case(
        family=name,
        layout="folder",
        what=what,
        measure=partial(started, start, name, sampler, strength, spacing, prediction),
        limit=limit_of(prediction, spacing),
        note="; ".join(note for note in notes if note),
        slow=slow,
    )
