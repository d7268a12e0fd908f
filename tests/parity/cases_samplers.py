"""Every sampler with every spacing and prediction that the reference has too."""

from collections.abc import Iterator
from functools import partial

from tests.parity.cases import ALLOWED, DEMANDED, Case
from tests.parity.pipelines import system
from tests.parity.schedulers import (
    BY_SIGMA,
    CLASSES,
    MULTISTEP,
    lead_lms,
    lead_plms,
    predictions,
    scheduler,
    spacings,
)
from tests.parity.shots import Shot, compare

IMG2IMG = "StableDiffusionImg2ImgPipeline"
LED = {"plms": lead_plms, "lms": lead_lms}
STRENGTHS = (0.3, 0.5, 0.8, 1.0)
BROWNIAN = "diffusers draws from our Brownian paths"
CUT = "diffusers' first timestep is 999: float32 cuts it to 998"
GAMMA = "diffusers' pipeline passes eta 0 where none is given: told 0.3, TCD's own"


def painted(sampler: str, spacing: str, prediction_type: str, steps: int) -> float:
    """Compare a picture from noise."""
    shot = Shot(
        sampler=sampler,
        steps=steps,
        schedule=spacing if spacing in BY_SIGMA else "uniform",
        theirs={"eta": 0.3} if sampler == "tcd" else {},
    )
    told = scheduler(sampler, spacing=spacing, prediction_type=prediction_type)
    return compare("sd1", "folder", shot, scheduler=told)


def overridden(sampler: str, spacing: str) -> float:
    """Compare a picture for which the job itself asks for another spacing than the checkpoint's."""
    shot = Shot(sampler=sampler, schedule=spacing)
    pipe = system("sd1").as_a("StableDiffusionPipeline")
    pipe.scheduler = scheduler(sampler, spacing=spacing)
    return compare("sd1", "folder", shot, pipe=pipe)


def changed(sampler: str, strength: float) -> float:
    """Compare image to image; both draw from the seeds: the posterior, the noise, the sampler's."""
    shot = Shot(
        sampler=sampler,
        steps=6,
        strength=strength,
        starts_white=False,
        theirs={"width": None, "height": None, **({"eta": 0.3} if sampler == "tcd" else {})},
    )
    pipe = system("sd1").as_a(IMG2IMG)
    told = scheduler(sampler)
    pipe.scheduler = told
    if sampler in LED:
        LED[sampler](pipe)
    return compare("sd1", "folder", shot, pipe=pipe, scheduler=told)


def cases() -> Iterator[Case]:
    """Return them all; the default suite has each sampler, spacing and prediction somewhere."""
    for number, sampler in enumerate(CLASSES):
        grid = [(s, p) for s in spacings(sampler) for p in predictions(sampler)]
        # Neighbours in the grid differ in both, so a stride through it meets every value.
        chosen = {grid[0], grid[(4 + 3 * number) % len(grid)]}
        for spacing, prediction in grid:
            yield Case(
                family="sd1",
                layout="folder",
                what=f"{sampler}, {prediction}, {spacing}",
                measure=partial(painted, sampler, spacing, prediction, 4),
                # There the estimate of x0 is the network's and the levels end near 0: both sides
                # divide by a small level.
                limit=ALLOWED if prediction == "sample" and spacing in BY_SIGMA else DEMANDED,
                note=_note(sampler, spacing),
                slow=(spacing, prediction) not in chosen,
            )
        yield Case(
            family="sd1",
            layout="folder",
            what=f"{sampler}, epsilon, 20 steps",
            measure=partial(painted, sampler, "leading", "epsilon", 20),
            note=_note(sampler, "leading"),
            slow=True,
        )
    for sampler in ("euler", "euler_a", "dpmpp_2m", "ddpm"):
        for spacing in ("trailing", "linspace"):
            yield Case(
                family="sd1",
                layout="folder",
                what=f"{sampler}, the job asks for {spacing}",
                measure=partial(overridden, sampler, spacing),
                slow=sampler in ("ddpm", "euler_a"),
            )
    yield from _img2img()


def _img2img() -> Iterator[Case]:
    for sampler in CLASSES:
        if sampler == "tcd":
            # Its pipeline cuts the list of steps before it is spread.
            continue
        for strength in STRENGTHS:
            usual = sampler in ("ddim", "euler_a", "dpmpp_2m") or strength == 0.5
            note = _note(sampler, "leading")
            if sampler in LED:
                note = "diffusers is led to begin in the middle as it begins at the top"
            yield Case(
                family="sd1",
                layout="folder",
                what=f"image to image, {sampler}, strength {strength}",
                measure=partial(changed, sampler, strength),
                note=note,
                slow=not usual,
            )


def _note(sampler: str, spacing: str) -> str:
    if sampler == "dpmpp_2m_sde":
        return f"{BROWNIAN}; {CUT}" if spacing == "exponential" else BROWNIAN
    if sampler in MULTISTEP and spacing == "exponential":
        return CUT
    return GAMMA if sampler == "tcd" else ""
