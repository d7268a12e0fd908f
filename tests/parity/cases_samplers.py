"""Every sampler with every spacing and prediction that the reference has too, from noise."""

from collections.abc import Iterator
from functools import partial

from tests.parity.cases import ALLOWED, DEMANDED, Case
from tests.parity.pipelines import system
from tests.parity.schedulers import (
    BY_SIGMA,
    CLASSES,
    MULTISTEP,
    on_its_own_timesteps,
    predictions,
    scheduler,
    spacings,
    strays,
)
from tests.parity.shots import BROWNIAN, Shot, compare

PATHS = "diffusers draws from our Brownian paths"
CUT = "diffusers' first timestep is 999: float32 cuts it to 998"
GAMMA = "diffusers' pipeline passes eta 0 where none is given: told 0.3, TCD's own"
STRAYS = "diffusers, which goes from t to t - 1000 // N, is led to its own next timestep"
MENDED = (
    "k-diffusion's form: solver type heun, no lower order but the last; the sign of a half in "
    "diffusers' third-order term is mended"
)
OF_EPS = "diffusers is led to turn v into eps before it combines four, not after"


def note_on(sampler: str, spacing: str, *, prediction: str = "epsilon", steps: int = 4) -> str:
    """Return what diffusers is told, where it is not the obvious."""
    notes = {
        MENDED: sampler == "dpmpp_3m_sde",
        PATHS: sampler in BROWNIAN,
        CUT: sampler in MULTISTEP and spacing == "exponential",
        GAMMA: sampler == "tcd",
        STRAYS: strays(sampler, spacing, steps),
        OF_EPS: sampler == "plms" and prediction == "v_prediction",
    }
    return "; ".join(note for note, holds in notes.items() if holds)


def limit_of(prediction: str, spacing: str) -> float:
    """Return the limit; where the estimate of x0 is the network's and the levels end near 0, both
    sides divide by a small level.
    """
    return ALLOWED if prediction == "sample" and spacing in BY_SIGMA else DEMANDED


def painted(sampler: str, spacing: str, prediction_type: str, steps: int) -> float:
    """Compare a picture from noise."""
    shot = Shot(
        sampler=sampler,
        steps=steps,
        schedule=spacing if spacing in BY_SIGMA else "uniform",
        theirs={"eta": 0.3} if sampler == "tcd" else {},
    )
    told = scheduler(sampler, spacing=spacing, prediction_type=prediction_type)
    if strays(sampler, spacing, steps):
        told = on_its_own_timesteps(told)
    return compare("sd1", "folder", shot, scheduler=told)


def overridden(sampler: str, spacing: str) -> float:
    """Compare a picture for which the job itself asks for another spacing than the checkpoint's."""
    shot = Shot(sampler=sampler, schedule=spacing)
    pipe = system("sd1").as_a("StableDiffusionPipeline")
    pipe.scheduler = scheduler(sampler, spacing=spacing)
    if strays(sampler, spacing, shot.steps):
        on_its_own_timesteps(pipe.scheduler)
    return compare("sd1", "folder", shot, pipe=pipe)


def cases() -> Iterator[Case]:
    """Return them all; the default suite has every spacing and prediction of each sampler."""
    for number, sampler in enumerate(CLASSES):
        ways, means = spacings(sampler), predictions(sampler)
        grid = [(spacing, prediction) for spacing in ways for prediction in means]
        # A diagonal meets every value of both.
        chosen = {
            (ways[i % len(ways)], means[(i + number) % len(means)])
            for i in range(max(len(ways), len(means)))
        }
        for spacing, prediction in grid:
            yield Case(
                family="sd1",
                layout="folder",
                what=f"{sampler}, {prediction}, {spacing}",
                measure=partial(painted, sampler, spacing, prediction, 4),
                limit=limit_of(prediction, spacing),
                note=note_on(sampler, spacing, prediction=prediction),
                slow=(spacing, prediction) not in chosen,
            )
        yield Case(
            family="sd1",
            layout="folder",
            what=f"{sampler}, epsilon, 20 steps",
            measure=partial(painted, sampler, "leading", "epsilon", 20),
            note=note_on(sampler, "leading"),
            slow=True,
        )
    yield from _uneven()
    for sampler in ("euler", "euler_a", "dpmpp_2m", "ddpm", "ddim", "plms"):
        for spacing in ("trailing", "linspace"):
            yield Case(
                family="sd1",
                layout="folder",
                what=f"{sampler}, the job asks for {spacing}",
                measure=partial(overridden, sampler, spacing),
                note=note_on(sampler, spacing),
                slow=sampler not in ("euler", "dpmpp_2m"),
            )


def _uneven() -> Iterator[Case]:
    """Return what 1000 does not divide into: 7 steps, and 20 of linspace."""
    for sampler in ("ddim", "plms"):
        for spacing, steps in (("leading", 7), ("trailing", 7), ("linspace", 20)):
            for prediction in predictions(sampler):
                yield Case(
                    family="sd1",
                    layout="folder",
                    what=f"{sampler}, {prediction}, {spacing}, {steps} steps",
                    measure=partial(painted, sampler, spacing, prediction, steps),
                    note=note_on(sampler, spacing, prediction=prediction, steps=steps),
                    slow=(spacing, prediction) != ("trailing", "epsilon"),
                )
