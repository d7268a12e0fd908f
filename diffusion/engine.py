"""Many jobs on one device: an asyncio front to the row machine's thread.

Promises: one thread owns the device; the event loop never waits for it (steps arrive by
`call_soon_threadsafe`); closing the iterator of a job frees its rows before the next forward pass.
Never knows users, fairness between them, or where pictures go.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import torch
from PIL import Image

from diffusion.errors import DiffusionError, EngineClosedError, EngineDeadError, UnknownModelError
from diffusion.inputs import Inputs
from diffusion.job import Job
from diffusion.machine import Machine
from diffusion.model import Model
from diffusion.params import Params
from diffusion.step import Step

_Answer: TypeAlias = "Step | BaseException"


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """One submission: what to paint and where its steps go."""

    params: Params
    model: Model
    inputs: Inputs
    loop: asyncio.AbstractEventLoop
    answers: "asyncio.Queue[_Answer]"

    def send(self, answer: _Answer) -> None:
        """Hand an answer to the submitter's event loop from the engine's thread."""
        try:
            self.loop.call_soon_threadsafe(self.answers.put_nowait, answer)
        except RuntimeError:
            # The loop is closed: nobody is left to tell.
            return


class Engine:
    """Run jobs for many people at once.

    `models` maps aliases to loaded models; `max_batch` is the most rows in one forward pass;
    `threads` sets how many cores the operators use (None: torch's own choice).
    """

    def __init__(
        self, models: Mapping[str, Model], *, max_batch: int = 16, threads: int | None = None
    ) -> None:
        if max_batch < 2:
            raise ValueError(f"max_batch is {max_batch}; a guided picture needs at least 2 rows")
        self._models = dict(models)
        self._machine = Machine(max_batch=max_batch)
        self._threads = threads
        self._thread: threading.Thread | None = None
        # Everything below is shared with the thread and guarded by the condition.
        self._wake = threading.Condition()
        self._arrived: list[_Request] = []
        self._cancelled: set[_Request] = set()
        self._closing = False
        self._fatal: BaseException | None = None

    async def __aenter__(self) -> Self:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="easel-engine", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread after the tick under way; unfinished jobs get EngineClosedError."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    @property
    def models(self) -> tuple[str, ...]:
        """Aliases of the loaded models."""
        return tuple(self._models)

    @property
    def device(self) -> str:
        """Where and how precisely the models compute, in a few words for people."""
        used = {f"{m.device}, {str(m.dtype).removeprefix('torch.')}" for m in self._models.values()}
        return "; ".join(sorted(used))

    @property
    def seconds_per_step(self) -> float | None:
        """The running mean of one forward pass in seconds; None before the first."""
        return self._machine.seconds_per_tick

    async def submit(
        self,
        params: Params,
        *,
        init_image: Image.Image | None = None,
        mask: Image.Image | None = None,
        hints: Sequence[Image.Image] = (),
    ) -> AsyncGenerator[Step, None]:
        """Queue a job and yield its steps; the last one carries the pictures.

        `init_image`, `mask` and `hints` are the pictures that params name, as for `generate`.
        Raises UnknownModelError, EngineClosedError, EngineDeadError, or what made this job fail.
        Closing the iterator cancels the job.
        """
        if params.model not in self._models:
            raise UnknownModelError(
                f"no model is called {params.model!r}; there are {', '.join(self._models)}"
            )
        request = _Request(
            params,
            self._models[params.model],
            Inputs(init_image=init_image, mask=mask, hints=tuple(hints)),
            asyncio.get_running_loop(),
            asyncio.Queue(),
        )
        self._enter(request)
        try:
            while True:
                answer = await request.answers.get()
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
                if answer.pictures is not None:
                    return
        finally:
            with self._wake:
                self._cancelled.add(request)
                self._wake.notify()

    def _enter(self, request: _Request) -> None:
        with self._wake:
            if self._fatal is not None:
                raise EngineDeadError(f"the engine has stopped: {self._fatal}")
            if self._closing or self._thread is None:
                raise EngineClosedError("the engine is not running; enter it with `async with`")
            self._arrived.append(request)
            self._wake.notify()

    def _run(self) -> None:
        """Own the device until the engine closes. The only code that runs in the thread."""
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        jobs: dict[_Request, Job] = {}
        try:
            while self._exchange(jobs):
                if not self._machine.busy:
                    continue
                owners = {job: request for request, job in jobs.items()}
                for job, answer in self._machine.tick():
                    owners[job].send(answer)
                    if isinstance(answer, BaseException) or answer.pictures is not None:
                        jobs.pop(owners[job], None)
        except BaseException as error:
            # Whatever escapes the machine leaves the device in an unknown state: nobody may go on
            # with it.
            self._die(error, jobs)
        else:
            self._refuse(jobs, EngineClosedError("the engine was closed before this job ended"))

    def _exchange(self, jobs: dict[_Request, Job]) -> bool:
        """Take in what arrived and drop what was cancelled; wait while there is nothing to do."""
        with self._wake:
            while not (self._arrived or self._cancelled or self._closing or self._machine.busy):
                self._wake.wait()
            arrived, self._arrived = self._arrived, []
            cancelled, self._cancelled = self._cancelled, set()
            closing = self._closing
        for request in cancelled:
            if request in jobs:
                self._machine.remove(jobs.pop(request))
        for request in arrived:
            if request in cancelled:
                continue
            if closing:
                request.send(EngineClosedError("the engine was closed before this job ended"))
                continue
            try:
                job = self._machine.add(request.model, request.params, request.inputs)
            except DiffusionError as error:
                request.send(error)
            else:
                jobs[request] = job
        return not closing

    def _die(self, error: BaseException, jobs: dict[_Request, Job]) -> None:
        with self._wake:
            self._fatal = error
        dead = EngineDeadError(f"the engine has stopped: {error}")
        dead.__cause__ = error
        self._refuse(jobs, dead)

    def _refuse(self, jobs: dict[_Request, Job], error: DiffusionError) -> None:
        with self._wake:
            waiting, self._arrived = self._arrived, []
        for request in [*jobs, *waiting]:
            request.send(error)
