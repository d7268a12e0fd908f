"""Three ways of serving the same arrivals: Easel, the same code one job at a time, diffusers so.

Promises: a job's clock starts when it was to come, however busy everybody is; its first preview is
drawn in a thread beside the work, on every side; nothing is dropped.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from diffusion.bench.peer import Peer
from diffusion.bench.population import Arrival
from diffusion.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one job: seconds from its arrival to its first preview and to its pictures."""

    arrival: Arrival
    preview: float
    grid: float
    pictures: int


@dataclass(slots=True)
class Seen:
    """When a job's first preview and its pictures were there, by `time.perf_counter`."""

    preview: float = 0.0
    grid: float = 0.0
    pictures: int = 0


class Server(Protocol):
    """Serves jobs, each in its own time."""

    async def serve(self, arrival: Arrival) -> Seen:
        """Paint one job to its end."""


class Together:
    """Easel as it is: everybody's rows in one forward pass."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def serve(self, arrival: Arrival) -> Seen:
        """Submit one job beside all the others."""
        seen = Seen()
        drawing: asyncio.Future[float] | None = None
        loop = asyncio.get_running_loop()
        async for step in self._engine.submit(arrival.params, share=arrival.share):
            if drawing is None:
                drawing = loop.run_in_executor(None, _drawn, step.draw_preview)
            if step.pictures is not None:
                seen.grid, seen.pictures = time.perf_counter(), len(step.pictures)
        if drawing is not None:
            seen.preview = await drawing
        return seen


class OneByOne:
    """Another server, but one job at a time, in the order they came."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # The lock is fair: who waits first goes first.
        self._turn = asyncio.Lock()

    async def serve(self, arrival: Arrival) -> Seen:
        """Wait for one's turn, then be alone."""
        async with self._turn:
            return await self._server.serve(arrival)


class PeerServer:
    """diffusers in a thread of its own; it cannot serve two at once."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="peer")

    async def serve(self, arrival: Arrival) -> Seen:
        """Paint one job."""
        loop = asyncio.get_running_loop()
        seen = Seen()
        drawing: list[asyncio.Future[float]] = []

        def first(draw: Callable[[], Image.Image]) -> None:
            # Called in the peer's thread; drawn in another, as everybody's.
            loop.call_soon_threadsafe(
                lambda: drawing.append(loop.run_in_executor(None, _drawn, draw))
            )

        pictures = await loop.run_in_executor(
            self._thread, lambda: self._peer.paint(arrival.params, seen=first)
        )
        seen.grid, seen.pictures = time.perf_counter(), len(pictures)
        seen.preview = await drawing[0]
        return seen

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()


async def replay(server: Server, arrivals: Sequence[Arrival]) -> tuple[list[Outcome], float]:
    """Send every job when it comes; return what became of them, and the seconds until the last.

    Raises what a job failed with.
    """
    began = time.perf_counter()

    async def one(arrival: Arrival) -> Outcome:
        due = began + arrival.at
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        seen = await server.serve(arrival)
        return Outcome(
            arrival=arrival,
            preview=seen.preview - due,
            grid=seen.grid - due,
            pictures=seen.pictures,
        )

    outcomes = await asyncio.gather(*(one(arrival) for arrival in arrivals))
    return list(outcomes), max(o.arrival.at + o.grid for o in outcomes)


def _drawn(draw: Callable[[], Image.Image]) -> float:
    """Draw a preview; return when it was there."""
    draw()
    return time.perf_counter()
