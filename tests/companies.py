"""Random companies of jobs: is every picture byte for byte the one that is made alone?

Run: python -m tests.companies [NUMBER] [--seed N] [--workers N] [--record FILE]. Promises: a
company is a function of its number alone, so a failing one can be run again: jobs of all samplers,
spacings, sizes, styles and shares come at random ticks, are cancelled, paused, cut down to one
picture and previewed on the way, in batches of random size. A quarter runs on two threads, which
share operators out. A record holds for the code it was made with: empty it after changes to that.
"""

import argparse
import random
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
from PIL import Image
from rich.progress import track

from diffusion import SAMPLERS, SCHEDULES, Control, Model, Params, Step
from diffusion.fairness import WEIGHTS
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.kernels.probe import usable_cpus
from diffusion.machine import Machine, Tail
from diffusion.pace import Pace
from tests.parity.pipelines import model as parity_model
from tests.parity.shots import photo
from tests.tiny import tiny_model

HASH: Final = "0" * 64
# Companies of one line of the record, which is written when they are done.
BLOCK: Final = 250
RECORD: Final = re.compile(r"\S+ companies (?P<start>\d+)-(?P<end>\d+) pictures \d+ differing 0 ")
PROMPTS: Final = (
    "a red heart",
    "a blue fish",
    "(cat face:1.3) on green",
    "a [red:blue:0.5] heart",
    "a heart AND a fish",
    "a heart " * 30,
)
# Those that a morph may lead through.
MORPHS: Final = tuple(prompt for prompt in PROMPTS if "[" not in prompt and "AND" not in prompt)
# What the larger model is asked besides: each is another kind of row.
STYLED: Final = ("a fox<lora:ink:0.7>", "a fox<lora:clay:1>", "a fox")


@dataclass(slots=True, eq=False)
class Guest:
    """One job of a company, and what happens to it; ticks count from the company's beginning."""

    model: Model
    params: Params
    inputs: Inputs
    share: Any
    arrival: int
    cancelled: int | None
    kept: tuple[int, int] | None
    paused: tuple[int, int] | None
    job: Job | None = None
    pictures: list[tuple[int, bytes]] = field(default_factory=list)


@cache
def source(side: tuple[int, int]) -> Image.Image:
    """A picture to start from."""
    return photo(seed=sum(side)).resize(side)


def guest(rng: random.Random, model: Model, *, styled: bool) -> Guest:
    """Make up one job."""
    side = rng.choice([(64, 64), (64, 64), (96, 64)] if styled else [(32, 32), (32, 32), (48, 32)])
    steps, images = rng.choice([1, 2, 3, 4, 6]), rng.choice([1, 1, 2, 3])
    params = Params(
        prompt=rng.choice(STYLED if styled else PROMPTS),
        negative_prompt=rng.choice(["", "", "blurred"]),
        seed=rng.randrange(1000),
        steps=steps,
        guidance_scale=rng.choice([1.0, 3.0, 7.5]),
        sampler=rng.choice(SAMPLERS),
        schedule=rng.choice(SCHEDULES),
        width=side[0],
        height=side[1],
        images=images,
        tile=rng.random() < 0.1,
        stop=rng.choice([100, 100, 100, 60]),
        hires=rng.choice([1.0, 1.0, 1.0, 1.0, 1.5]) if not styled else 1.0,
        guidance_rescale=rng.choice([0.0, 0.0, 0.7]),
    )
    inputs = Inputs()
    if rng.random() < 0.3:
        params = replace(params, init_image=HASH, strength=rng.choice([0.4, 0.8, 1.0]))
        inputs = replace(inputs, init_image=source(side))
        if rng.random() < 0.5:
            params = replace(params, mask=HASH)
            mask = Image.new("L", side)
            mask.paste(255, (0, 0, side[0] // 2, side[1]))
            inputs = replace(inputs, mask=mask)
    if styled and rng.random() < 0.3:
        params = replace(params, controls=(Control(model="edges", image=HASH, scale=0.5),))
        inputs = replace(inputs, hints=(source(side),))
    params = spread(rng, params)
    pause = rng.randrange(12)
    return Guest(
        model=model,
        params=params,
        inputs=inputs,
        share=rng.choice(list(WEIGHTS)),
        arrival=rng.randrange(10),
        cancelled=rng.randrange(15) if rng.random() < 0.15 else None,
        kept=(rng.randrange(12), rng.randrange(images)) if rng.random() < 0.2 else None,
        paused=(pause, pause + rng.randrange(1, 9)) if rng.random() < 0.2 else None,
    )


def spread(rng: random.Random, params: Params) -> Params:
    """Let the pictures of some jobs differ in more than their seeds, or in less."""
    params = replace(params, chaos=rng.choice([0, 0, 30, 100]), same_seed=rng.random() < 0.2)
    if rng.random() < 0.2 and params.images > 1 and params.prompt in MORPHS:
        phrases = rng.choices(MORPHS, k=rng.randint(1, params.images - 1))
        return replace(params, morph=tuple(phrases))
    return params


@contextmanager
def any_size(rng: random.Random) -> Iterator[None]:
    """Let every batch be of a random size, as if the knee were somewhere else at each tick."""

    def cap(_pace: Pace, _kind: object, most: int) -> int:
        return rng.randint(2, max(2, most))

    with patch.object(Pace, "cap", cap):
        yield


def run(guests: list[Guest], rng: random.Random, tail: Tail | None = None) -> Machine:
    """Let a company paint; every guest's pictures are noted, by their numbers. Return what they
    were painted by.
    """
    machine = Machine(max_batch=rng.choice([2, 5, 8, 16]), tail=tail)
    tick = 0
    while machine.busy or any(g.arrival >= tick or (g.paused or (0, 0))[1] >= tick for g in guests):
        for each in guests:
            if each.arrival == tick:
                each.job = machine.add(each.model, each.params, each.inputs, share=each.share)
            if each.job is None:
                continue
            if each.cancelled == tick:
                machine.remove(each.job)
            if each.kept is not None and each.kept[0] == tick and each.job.images:
                each.job.keep([each.kept[1]])
            if each.paused is not None and tick in each.paused:
                each.job.paused = tick == each.paused[0]
        for job, answer in machine.tick():
            host = next(g for g in guests if g.job is job)
            if not isinstance(answer, Step):
                raise answer
            if rng.random() < 0.1:
                answer.preview()
            if answer.pictures is not None:
                found = zip(answer.images, answer.pictures, strict=True)
                host.pictures = [(i, picture.tobytes()) for i, picture in found]
        tick += 1
    return machine


def alone(each: Guest, tail: Tail | None = None) -> list[bytes]:
    """Return the pictures of a job that has the machine to itself."""
    machine = Machine(max_batch=32, tail=tail)
    machine.add(each.model, each.params, each.inputs)
    while machine.busy:
        for _, answer in machine.tick():
            if not isinstance(answer, Step):
                raise answer
            if answer.pictures is not None:
                return [picture.tobytes() for picture in answer.pictures]
    raise RuntimeError("the job ended without pictures")


def audit(
    number: int, models: Callable[[bool], Model] | None = None, tail: Tail | None = None
) -> tuple[int, list[str]]:
    """Run one company; return how many pictures were compared and what differs, in words.

    `tail` is as for `Machine`.
    """
    rng = random.Random(number)  # noqa: S311 - tests
    styled = number % 10 == 0
    model = (models or _model)(styled)
    guests = [guest(rng, model, styled=styled) for _ in range(rng.randint(2, 5))]
    with any_size(rng):
        machine = run(guests, rng, tail)
    wrong, compared = [], 0
    if machine.pools.taken:
        wrong.append(f"company {number}: {machine.pools.taken} slots are never given back")
    for each in guests:
        if not each.pictures:
            if each.cancelled is None:
                wrong.append(f"company {number}: never finished: {each.params.to_json()}")
            continue
        expected = alone(each, tail)
        for index, data in each.pictures:
            compared += 1
            if data != expected[index]:
                wrong.append(f"company {number}: picture {index} of {each.params.to_json()}")
    return compared, wrong


def _model(styled: bool) -> Model:
    return parity_model("sd1", "folder") if styled else tiny_model()


def audit_one(number: int, *, tail: Tail | None) -> tuple[int, list[str]]:
    """Audit a company in a process that does nothing else."""
    torch.set_num_threads(1 if number % 4 else 2)
    return audit(number, tail=tail)


def recorded(path: Path) -> int:
    """Return how many companies, from number 0 on and without a gap, a record holds as equal."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = [match for match in map(RECORD.match, lines) if match]
    end = 0
    for match in sorted(found, key=lambda match: int(match["start"])):
        if int(match["start"]) <= end:
            end = max(end, int(match["end"]))
    return end


def main() -> None:
    """Audit many companies; exit 1 when one byte differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", nargs="?", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tail", choices=["tables", "coroutines"], default=None)
    parser.add_argument("--workers", type=int, default=usable_cpus())
    parser.add_argument("--record", type=Path, help="Go on where this file ends; add to it.")
    asked = parser.parse_args()
    end = asked.seed + asked.number
    first = max(asked.seed, recorded(asked.record)) if asked.record else asked.seed
    compared = 0
    wrong: list[str] = []
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        for start in range(first, end, BLOCK):
            numbers = range(start, min(start + BLOCK, end))
            found = pool.map(partial(audit_one, tail=asked.tail), numbers, chunksize=16)
            pictures, differing = 0, list[str]()
            title = f"companies {numbers.start} to {numbers.stop} of {end}"
            for count, different in track(found, title, total=len(numbers)):
                pictures, differing = pictures + count, differing + different
            compared, wrong = compared + pictures, wrong + differing
            line = (
                f"{datetime.now(UTC):%Y-%m-%d} companies {numbers.start}-{numbers.stop} "
                f"pictures {pictures} differing {len(differing)} torch {torch.__version__}\n"
            )
            sys.stdout.write(line)
            sys.stdout.flush()
            if asked.record:
                with asked.record.open("a", encoding="utf-8") as file:
                    file.write(line)
    sys.stdout.write("".join(f"{line}\n" for line in wrong[:20]))
    sys.stdout.write(
        f"{end - first} companies, {compared} pictures, {len(wrong)} with differing bytes\n"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
