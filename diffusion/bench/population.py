"""Who comes: a seeded mixture of jobs, arriving as a Poisson process.

Promises: the same seed gives the same jobs at the same times, whoever serves them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from diffusion.bench.errors import BenchError
from diffusion.bench.subjects import job_params
from diffusion.fairness import Share
from diffusion.model import Model
from diffusion.params import Params

PROMPTS: Final = ("red heart", "smiling face", "cat face", "red apple", "dog face", "blue fish")
IMAGES: Final = (1, 4)
SAMPLERS: Final = ("dpmpp_2m", "euler", "ddim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A sort of job: how many steps it has, its share of the device, how often it comes."""

    name: str
    steps: int
    share: Share
    weight: float


KINDS: Final = (
    Kind(name="draft", steps=4, share="draft", weight=0.4),
    Kind(name="normal", steps=25, share="fast", weight=0.45),
    Kind(name="long", steps=60, share="fast", weight=0.15),
)


@dataclass(frozen=True, slots=True)
class JobClass:
    """What decides how long a job takes alone: jobs of one class are compared with one time."""

    kind: str
    images: int
    width: int
    height: int

    @property
    def label(self) -> str:
        """The class in a few words."""
        return f"{self.kind}, {self.images} of {self.width}x{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One job: when it comes, in seconds from the start, what it wants, and its class."""

    at: float
    params: Params
    share: Share
    job_class: JobClass


class Population:
    """Draw jobs for a model whose larger pictures are `side` pixels a side; `shrink` divides
    the steps.
    """

    def __init__(self, model: Model, *, side: int, seed: int, shrink: int = 1) -> None:
        self._model = model
        self._shrink = shrink
        self._random = random.Random(seed)  # noqa: S311 - a workload, no secret
        self.sizes = _sizes(model, side)
        self._drawn = 0

    def classes(self) -> list[Arrival]:
        """Return one job of every class."""
        return [
            self._job(0.0, kind, images, size, PROMPTS[0], SAMPLERS[0])
            for kind in KINDS
            for images in IMAGES
            for size in self.sizes
        ]

    def burst(self, count: int) -> list[Arrival]:
        """Return jobs that all come at once."""
        return [self._draw(0.0) for _ in range(count)]

    def poisson(self, rate: float, seconds: float) -> list[Arrival]:
        """Return the jobs that come within `seconds` at `rate` a second; one at least."""
        arrivals: list[Arrival] = []
        at = 0.0
        while not arrivals or at < seconds:
            arrivals.append(self._draw(at))
            at += self._random.expovariate(rate)
        return arrivals

    def _draw(self, at: float) -> Arrival:
        chance = self._random
        kind = chance.choices(KINDS, weights=[kind.weight for kind in KINDS])[0]
        return self._job(
            at,
            kind,
            chance.choice(IMAGES),
            chance.choice(self.sizes),
            chance.choice(PROMPTS),
            chance.choice(SAMPLERS),
        )

    def _job(
        self, at: float, kind: Kind, images: int, size: tuple[int, int], prompt: str, sampler: str
    ) -> Arrival:
        self._drawn += 1
        width, height = size
        params = job_params(
            self._model,
            prompt=prompt,
            seed=100 * self._drawn,
            steps=max(2, kind.steps // self._shrink),
            images=images,
            sampler=sampler,
            width=width,
            height=height,
        )
        job_class = JobClass(kind.name, images, width, height)
        return Arrival(at=at, params=params, share=kind.share, job_class=job_class)


def pictures(arrivals: Sequence[Arrival]) -> int:
    """Count the pictures that jobs want."""
    return sum(arrival.params.images for arrival in arrivals)


def _sizes(model: Model, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a square and a portrait of about three quarters of its width, in pixels."""
    unit = model.info.size_multiple
    narrow = side * 3 // 4 // unit * unit
    if narrow < unit:
        raise BenchError(f"two sizes need a side of {2 * unit} pixels at least, not {side}")
    return (side, side), (narrow, side)
