"""`python -m tests.benchmarks.etas [alone | random | bursts]`: are promised seconds kept?

The real bot and the shipped model at the loopback Discord; people ask one after another, at random
moments, or four at a time, for prompts of different lengths. Prints the median error of what they
were promised, as a share of what happened. Not a test: it measures this machine.
"""

import asyncio
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from bot.config import parse_config
from bot.playground import Playground, RateLimits, aim
from tests.bot_room import QUICK, results
from tests.test_bot_with_the_shipped_model import running

SETTINGS: Final = f"{QUICK}[queue]\nmax_waiting_user = 40\n"
WAVES: Final = {"alone": (30, 1), "random": (40, 1), "bursts": (12, 4)}
# Seconds between two people, on average, where they come at random.
GAP: Final = 2.0


def prompt(source: random.Random) -> str:
    """Return a prompt of some length, in some shape."""
    words = source.choice(["a red heart", "panda", "a sunflower"])
    shape = source.choice(["", " --ar 3:2", " --cfg 1"])
    return f"{words} --steps {source.choice([8, 12, 20, 30])}{shape}"


async def measure(pattern: str, folder: Path, console: Console) -> None:
    """Let people ask in a pattern, and print how far promises were off."""
    config = parse_config(SETTINGS, folder / "config.toml")
    waves, size = WAVES[pattern]
    source, asked = random.Random(3), 0  # noqa: S311 - a benchmark's prompts are no secret
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        restore = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        try:
            async with running(pg, config) as (app, _):
                for _ in range(waves):
                    for _ in range(size):
                        who = source.choice(["alice", "bob", "carol"])
                        await pg.slash(who, "imagine", {"prompt": prompt(source)})
                        asked += 1
                    if pattern == "random":
                        await asyncio.sleep(source.expovariate(1 / GAP))
                    else:
                        await _all_there(pg, asked)
                await _all_there(pg, asked)
                error = app.services.worker.estimates.median_error
        finally:
            restore()
    told = "nothing was promised" if error is None else f"median error {error:.2f}"
    console.print(f"{pattern}: {asked} jobs, {told}")


async def _all_there(pg: Playground, count: int) -> None:
    await pg.wait(lambda ledger: len(results(ledger)) == count, timeout=180)


def main() -> None:
    """Measure the patterns that are named, or all."""
    console = Console(highlight=False)
    for pattern in sys.argv[1:] or list(WAVES):
        with TemporaryDirectory() as folder:
            asyncio.run(measure(pattern, Path(folder), console))


if __name__ == "__main__":
    main()
