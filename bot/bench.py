"""`easel bench`: the figures of the README, measured on this machine against the loopback Discord.

Promises real sockets, the real client and the shipped model; every figure is a median or a
percentile of what was seen, with how often it was measured. Judges nothing.
"""

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bot.app import App
from bot.config import Config, QueueConfig, StorageConfig
from bot.loading import describe_models, load_engine
from bot.playground import Ledger, MessageRecord, Playground, PlayInteraction, RateLimits, aim
from storage import Store
from storage.timing import measure_commits

GRIDS: Final = 5
ACKNOWLEDGEMENTS: Final = 100
PROMPTS: Final = ("red heart", "smiling face", "cat face", "red apple", "dog face")
_RESIDENT: Final = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured line: what, how much, in which unit, how often."""

    name: str
    value: str
    count: int


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure_start(runs: int = 3) -> list[Figure]:
    """Start the demo as a process of its own and read its address and its memory."""
    seconds, peaks = [], []
    for _ in range(runs):
        with TemporaryDirectory() as folder:
            began = time.perf_counter()
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bot",
                "demo",
                "--port",
                "0",
                "--data",
                folder,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            if child.stdout is None:
                raise RuntimeError("the demo has no output to read")
            await child.stdout.readline()
            seconds.append(time.perf_counter() - began)
            status = await asyncio.to_thread(Path(f"/proc/{child.pid}/status").read_text)
            found = _RESIDENT.search(status)
            peaks.append(int(found[1]) / 1024 if found else 0.0)
            child.terminate()
            await child.wait()
    return [
        Figure(
            name="process start to ready", value=f"{percentile(seconds, 0.5):.1f} s", count=runs
        ),
        Figure(name="memory when ready", value=f"{percentile(peaks, 0.5):.0f} MiB", count=runs),
    ]


async def measure_store() -> list[Figure]:
    """Time the commit that stands between a request and its acknowledgement."""
    with TemporaryDirectory() as folder:
        times = await measure_commits(Path(folder))
    value = f"{times.p50_ms:.1f} / {times.p99_ms:.1f} ms"
    return [Figure(name="commit of a job, p50 / p99", value=value, count=times.count)]


async def measure_bot() -> list[Figure]:
    """Run bot, store, engine and model in this process and ask for pictures as people do."""
    with TemporaryDirectory() as folder:
        config = Config(
            storage=StorageConfig(folder=Path(folder)),
            queue=QueueConfig(max_waiting=1000, max_waiting_user=1000),
        )
        store = await Store.open(config.storage.folder)
        engine = await asyncio.to_thread(load_engine, config)
        async with Playground(rate_limits=RateLimits(enabled=False)) as playground, engine:
            restore = aim(playground.api_base, playground.gateway_url, playground.cdn_base)
            app = App(config=config, store=store, engine=engine, models=describe_models(config))
            try:
                async with app, asyncio.TaskGroup() as group:
                    running = group.create_task(app.run(playground.token))
                    await app.ready.wait()
                    await playground.ready()
                    figures = await _ask(playground, app)
                    await app.stop()
                    await running
            finally:
                restore()
                await store.close()
    return figures


async def _ask(playground: Playground, app: App) -> list[Figure]:
    # The first job warms caches that every later one finds warm.
    await _grid(playground, PROMPTS[0])
    grids = [await _grid(playground, prompt) for prompt in PROMPTS[:GRIDS]]
    acknowledged = await _acknowledgements(playground)
    lag = app.lag
    peak = _RESIDENT.search(await asyncio.to_thread(Path("/proc/self/status").read_text))
    return [
        Figure(
            name="/imagine to grid, default settings",
            value=f"{percentile(grids, 0.5):.2f} s",
            count=len(grids),
        ),
        Figure(
            name="/imagine to acknowledgement while painting, p50",
            value=f"{percentile(acknowledged, 0.5) * 1000:.0f} ms",
            count=len(acknowledged),
        ),
        Figure(
            name="/imagine to acknowledgement while painting, p99",
            value=f"{percentile(acknowledged, 0.99) * 1000:.0f} ms",
            count=len(acknowledged),
        ),
        Figure(
            name="event loop lag while painting, p99",
            value=f"{lag.p99 * 1000:.0f} ms (max {lag.max * 1000:.0f} ms)",
            count=1,
        ),
        Figure(
            name="peak memory, bot and loopback Discord",
            value=f"{int(peak[1]) / 1024:.0f} MiB" if peak else "unknown",
            count=1,
        ),
    ]


async def _grid(playground: Playground, prompt: str) -> float:
    """Ask for a grid and wait for its buttons; return the seconds."""
    began = time.perf_counter()
    asked = await playground.slash("alice", "imagine", {"prompt": prompt})

    def finished(ledger: Ledger) -> MessageRecord | None:
        message = ledger.messages.get(asked.message_id or 0)
        if message is None or not any("v1:upscale:" in each for each in message.custom_ids):
            return None
        return message

    await playground.wait(finished, timeout=60)
    return time.perf_counter() - began


async def _acknowledgements(playground: Playground) -> list[float]:
    """Ask again and again while the engine paints; return the seconds to each answer."""
    seconds: list[float] = []
    asked: list[PlayInteraction] = []
    for number in range(ACKNOWLEDGEMENTS):
        began = time.perf_counter()
        prompt = f"{PROMPTS[number % len(PROMPTS)]} --steps 4"
        interaction = await playground.slash("bob", "imagine", {"prompt": prompt})
        await interaction.acknowledged
        seconds.append(time.perf_counter() - began)
        asked.append(interaction)
    return seconds
