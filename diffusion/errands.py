"""What is asked of a model beside painting: an answer, not a job's steps.

Promises: done in the device's thread, piece by piece between its passes, at the cost of one more
job's share; who stops waiting takes the work away; nobody else's picture changes by it.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from diffusion.errors import EngineClosedError, EngineDeadError
from diffusion.job import Job
from diffusion.lane import Lane
from diffusion.model import Model
from diffusion.params import Params

Result = TypeVar("Result")


async def run_errand(
    lane: Lane, model: Model, params: Params, work: Generator[None, None, Result]
) -> Result:
    """Have a lane do work that rests, and return its result; `params` say what it asks of memory.

    Raises what the work raises, OutOfMemoryError, EngineClosedError and EngineDeadError.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    entered: list[Job | None] = []

    def settle(how: Callable[[], None]) -> None:
        if not future.done():
            how()

    def tell(how: Callable[[], None]) -> None:
        # The loop may be closed: then nobody is left to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, how)

    def told() -> Generator[None, None, None]:
        result = yield from work
        tell(lambda: future.set_result(result))

    def reply(answer: object) -> None:
        if isinstance(answer, BaseException):
            tell(lambda: future.set_exception(answer))

    def begin() -> None:
        if not future.done():
            add = partial(lane.machine.add_errand, model, params, told())
            entered.append(lane.enter(add, reply))

    def end() -> None:
        for job in entered:
            if job is not None:
                lane.leave(job)

    lane.post(begin)
    try:
        return await future
    finally:
        # It is over, or nobody waits for it any more.
        with suppress(EngineClosedError, EngineDeadError):
            lane.post(end)
