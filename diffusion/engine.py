"""Many jobs on one or several devices: an asyncio front to the row machines' threads.

Promises: one thread owns each device; the event loop never waits for it (steps arrive by
`call_soon_threadsafe`); closing a submission frees its rows before the next forward pass; of
several devices that have a job's model, the one with the least left to do takes it. Never knows
users, or where pictures go.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import torch
from PIL import Image

from diffusion.addons import look_again, read_ahead
from diffusion.blending import blend_params, blended, shares_of
from diffusion.describe import describe
from diffusion.errands import run_errand
from diffusion.errors import (
    CheckpointError,
    EngineClosedError,
    EngineDeadError,
    UnknownModelError,
)
from diffusion.exact import Deterministic
from diffusion.fairness import Share
from diffusion.influence import influence_of, listen_params
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.lane import Lane
from diffusion.machine import Machine, Tail
from diffusion.model import Model
from diffusion.params import Params
from diffusion.residency import Residency, residency_for
from diffusion.step import Step
from diffusion.text.counting import count_tokens
from diffusion.words import Influence, TokenCount

_Answer: TypeAlias = "Step | BaseException"


class Submission(AsyncIterator[Step]):
    """A job on its way: an iterator over its steps, and what can be done to it meanwhile.

    Iterating raises what made the job fail. `aclose`, or leaving `contextlib.aclosing`, cancels it.
    """

    def __init__(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        self._lane = lane
        self._loop = loop
        self._answers: asyncio.Queue[_Answer] = asyncio.Queue()
        self._job: Job | None = None
        self._over = False

    def __aiter__(self) -> "Submission":
        """Return itself."""
        return self

    async def __anext__(self) -> Step:
        """Return the next step; the last one carries the pictures."""
        if self._over:
            raise StopAsyncIteration
        try:
            answer = await self._answers.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if isinstance(answer, BaseException):
            self._over = True
            raise answer
        self._over = answer.pictures is not None
        return answer

    async def aclose(self) -> None:
        """Cancel the job, unless it has ended; its rows are gone at the next tick."""
        if not self._over:
            self._over = True
            self._ask(lambda job: self._lane.leave(job))

    def keep(self, images: Iterable[int]) -> None:
        """Go on with these pictures (numbers from 0) alone. ValueError when that leaves none."""
        wanted = frozenset(images)
        if not wanted:
            raise ValueError("a job without pictures is a cancelled one: close it")
        self._ask(lambda job: job.keep(wanted))

    def pause(self) -> None:
        """Stop painting until `resume`; the state stays in memory."""
        self._ask(lambda job: setattr(job, "paused", True))

    def resume(self) -> None:
        """Go on after `pause`."""
        self._ask(lambda job: setattr(job, "paused", False))

    def _ask(self, what: Callable[[Job], None]) -> None:
        def letter() -> None:
            if self._job is not None:
                what(self._job)

        with suppress(EngineClosedError, EngineDeadError):  # Then it has no job left.
            self._lane.post(letter)

    def enter(self, add: Callable[[], Job]) -> None:
        """Send the job to the device; `add` is called there. Raises EngineClosedError,
        EngineDeadError.
        """

        def letter() -> None:
            if not self._over:
                self._job = self._lane.enter(add, self._reply)

        self._lane.post(letter)

    def fail(self, error: BaseException) -> None:
        """Let the iterator raise an error: the job could not even begin."""
        self._answers.put_nowait(error)

    def __del__(self) -> None:
        """Cancel a job whose submission nobody holds any more."""
        if not self._over:
            job = self._job
            with suppress(EngineClosedError, EngineDeadError):
                self._lane.post(lambda: None if job is None else self._lane.leave(job))

    def _reply(self, answer: _Answer) -> None:
        """Hand an answer to the submitter's event loop from the device's thread."""
        try:
            self._loop.call_soon_threadsafe(self._answers.put_nowait, answer)
        except RuntimeError:
            # The loop is closed: nobody is left to tell.
            return


class Engine:
    """Run jobs for many people at once.

    `models` maps aliases to loaded models, or to replicas of one on several devices. `max_batch` is
    the most rows in one forward pass; `threads` sets how many cores the operators use (None:
    torch's own choice). `deterministic`: "strict" gives every picture the bits it has alone,
    whatever the company; "fast" lets them differ in the last place, where that is quicker. `tail`
    is as for `Machine`. `memory` is the most bytes to use on each device (None: what is free).
    `loaders` load an alias's model again onto a device given by name, so that it need not stay in
    host memory where others want that too.
    """

    def __init__(
        self,
        models: Mapping[str, Model | Sequence[Model]],
        *,
        max_batch: int = 16,
        threads: int | None = None,
        deterministic: Deterministic = "strict",
        tail: Tail | None = None,
        memory: int | None = None,
        loaders: Mapping[str, Callable[[str], Model]] | None = None,
    ) -> None:
        if max_batch < 2:
            raise ValueError(f"max_batch is {max_batch}; a guided picture needs at least 2 rows")
        self._replicas: dict[str, tuple[Model, ...]] = {
            alias: (given,) if isinstance(given, Model) else tuple(given)
            for alias, given in models.items()
        }
        devices = {str(m.device) for replicas in self._replicas.values() for m in replicas}
        self._lanes = {
            device: Lane(
                Machine(
                    max_batch=max_batch,
                    deterministic=deterministic,
                    tail=tail,
                    residency=residency_for(torch.device(device), budget=memory),
                ),
                name=f"easel-{device}",
                threads=threads,
            )
            for device in sorted(devices)
        }
        for alias, replicas in self._replicas.items():
            again = (loaders or {}).get(alias)
            for model in replicas:
                # Weights that are there already take room from everybody's work.
                loader = None if again is None else partial(again, str(model.device))
                self._books(model).adopt(model, loader=loader)
        for books in {self._books(m) for replicas in self._replicas.values() for m in replicas}:
            books.preload()
        self._running = False

    async def __aenter__(self) -> Self:
        """Start the threads."""
        for lane in self._lanes.values():
            lane.start()
        self._running = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the threads after the tick under way; unfinished jobs get EngineClosedError."""
        self._running = False
        await asyncio.gather(*(asyncio.to_thread(lane.close) for lane in self._lanes.values()))

    @property
    def models(self) -> tuple[str, ...]:
        """Aliases of the loaded models."""
        return tuple(self._replicas)

    @property
    def device(self) -> str:
        """Where and how precisely the models compute, in a few words for people."""
        models = [model for replicas in self._replicas.values() for model in replicas]
        used = {f"{m.device}, {str(m.dtype).removeprefix('torch.')}" for m in models}
        return "; ".join(sorted(used))

    @property
    def seconds_per_step(self) -> float | None:
        """The running mean of one forward pass in seconds; None before the first."""
        known = [lane.machine.seconds_per_tick for lane in self._lanes.values()]
        there = [seconds for seconds in known if seconds is not None]
        return sum(there) / len(there) if there else None

    def submit(
        self,
        params: Params,
        *,
        init_image: Image.Image | None = None,
        mask: Image.Image | None = None,
        hints: Sequence[Image.Image] = (),
        share: Share = "fast",
        state: bytes | None = None,
    ) -> Submission:
        """Queue a job and return the iterator over its steps; the last carries the pictures.

        `init_image`, `mask` and `hints` are the pictures that params name, as for `generate`.
        `share` is the job's part of the device beside others: a draft's is twice a fast one's,
        which is four times a relaxed one's. `state` (`Step.state` of a job that was stopped early)
        goes on from there: params are the same but for `stop`. Iterating raises UnknownModelError,
        EngineClosedError, EngineDeadError, or what made this job fail.
        """
        loop = asyncio.get_running_loop()
        model, lane = self._route(params.model)
        submission = Submission(lane, loop)
        inputs = Inputs(init_image=init_image, mask=mask, hints=tuple(hints))
        add = partial(lane.machine.add, model, params, inputs, share=share, state=state)
        reading = read_ahead(model, params)
        if reading is None:
            submission.enter(add)
            return submission
        # Files of LoRAs and ControlNets are read beside the device's work, not in its thread.
        task = loop.run_in_executor(None, reading)
        task.add_done_callback(lambda done: _entered(submission, add, done))
        return submission

    async def describe(self, model: str, picture: Image.Image, *, count: int = 4) -> list[str]:
        """Return prompts for a picture, the best first. Raises AbilityError where a model has no
        way to tell, CheckpointError, and as `submit`.
        """
        found, _ = self._route(model)
        # A small network that runs on the CPU, beside whatever the device does.
        return await asyncio.to_thread(describe, found, picture, count=count)

    async def count_tokens(self, params: Params) -> TokenCount | None:
        """Count a prompt's tokens; None for a model without a tokenizer. Raises as `submit`."""
        found, _ = self._route(params.model)
        return await asyncio.to_thread(count_tokens, found, params)

    async def influence(self, model: str, prompt: str) -> tuple[Influence, ...]:
        """Return how much each word of a prompt counts, in order. Raises AbilityError where a model
        reads no words, ParamsError, OutOfMemoryError, and as `submit`.
        """
        found, lane = self._route(model)
        params = listen_params(found, prompt)
        return await run_errand(lane, found, params, influence_of(found, params))

    async def blend(
        self,
        model: str,
        pictures: Sequence[Image.Image],
        weights: Sequence[float] | None = None,
    ) -> Image.Image:
        """Mix two to five pictures in a model's latents, by equal weights unless they are given.

        The first one's shape is the result's, at the model's own size; the others are cropped to
        it. Raises ParamsError, OutOfMemoryError, and as `submit`.
        """
        found, lane = self._route(model)
        shares = shares_of(pictures, weights)
        params = blend_params(found, pictures[0])
        return await run_errand(lane, found, params, blended(found, params, pictures, shares))

    def look_again(
        self, alias: str, loras: Path | None, embeddings: Path | None, changed: Collection[str]
    ) -> None:
        """Take in a model's add-ons as they lie in their folders now; running jobs keep theirs."""
        for model in self._replicas[alias]:
            look_again(model, loras, embeddings, changed)

    def _books(self, model: Model) -> Residency:
        return self._lanes[str(model.device)].machine.room.books(model)

    def _route(self, alias: str) -> tuple[Model, Lane]:
        """Return the replica of a model whose device has the least left to do."""
        if alias not in self._replicas:
            raise UnknownModelError(
                f"no model is called {alias!r}; there are {', '.join(self._replicas)}"
            )
        if not self._running:
            raise EngineClosedError("the engine is not running; enter it with `async with`")
        lanes = [(model, self._lanes[str(model.device)]) for model in self._replicas[alias]]
        return min(lanes, key=lambda pair: pair[1].load)


def _entered(
    submission: Submission, add: Callable[[], Job], reading: asyncio.Future[object]
) -> None:
    error = None if reading.cancelled() else reading.exception()
    try:
        if isinstance(error, CheckpointError):
            # The device's thread would only read the same file to the same end.
            submission.fail(error)
        else:
            submission.enter(add)
    except (EngineClosedError, EngineDeadError) as refusal:
        submission.fail(refusal)
