"""How often the gateway is asked, so that a bad day of Discord's costs neither hours nor the token.

Promises that a connection which brought nothing is followed by a pause that doubles, that two
IDENTIFYs are `IDENTIFY_SECONDS` apart, and that no new session is begun while `IDENTIFIES_A_DAY`
were in the last 24 hours. A session that was welcomed is resumed at once.

## Why beside discord.py's own pauses
discord.py waits up to 17 minutes once an outage was long, comes back with no pause at all to a
gateway that hangs up at once, and identifies for ever every five seconds where each session is
declared invalid. Discord resets the token of who identifies more than 1,000 times a day.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from discord.backoff import ExponentialBackoff

FIRST_PAUSE: float = 0.5
# discord.py gives a connection one minute, and the pause is part of it.
LONGEST_PAUSE: float = 30.0
# So often Discord may hang up at once before anything is waited for.
FREE_TRIES: Final = 2
BACKOFF_BASE: float = 1.0
LONGEST_BACKOFF: float = 300.0
IDENTIFY_SECONDS: float = 5.0
# What Discord asks for between an invalid session and the next IDENTIFY.
INVALID_SECONDS: tuple[float, float] = (1.0, 5.0)
IDENTIFIES_A_DAY: Final = 900
DAY: Final = 86_400.0


class Backoff(ExponentialBackoff[Literal[False]]):
    """discord.py's pauses after a refused connection, but never above `LONGEST_BACKOFF` seconds."""

    def __init__(self) -> None:
        """Begin with pauses of up to twice `BACKOFF_BASE`."""
        super().__init__(BACKOFF_BASE)  # type: ignore[arg-type]

    def delay(self) -> float:
        """Return the next pause in seconds."""
        return min(LONGEST_BACKOFF, float(super().delay()))


class Knocks:
    """Paces connections and IDENTIFYs; hears when one was welcomed."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fruitless = 0
        self._identified: deque[float] = deque(maxlen=IDENTIFIES_A_DAY)
        # Spreads the bots that an outage threw out together; nothing secret hangs on it.
        self._random = random.Random()  # noqa: S311

    @property
    def pause(self) -> float:
        """How many seconds the next connection waits."""
        extra = self._fruitless - FREE_TRIES
        return 0.0 if extra < 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(extra, 30))

    def welcomed(self) -> None:
        """Take in that a session began or was resumed."""
        self._fruitless = 0

    async def before_connect(self) -> None:
        """Wait for the turn of one more connection.

        Raises ConnectionError while the day's sessions are used up and none can be resumed.
        """
        if self._fruitless and self._used_up():
            raise ConnectionError(f"{IDENTIFIES_A_DAY} sessions were begun in 24 hours")
        pause = self.pause
        self._fruitless += 1
        await asyncio.sleep(pause)

    async def before_identify(self, *, initial: bool) -> None:
        """Wait until a session may be begun; `initial` is the first of this run."""
        now = self._clock()
        wait = 0.0 if initial else self._random.uniform(*INVALID_SECONDS)
        if self._identified:
            wait = max(wait, self._identified[-1] + IDENTIFY_SECONDS - now)
        await asyncio.sleep(max(0.0, wait))
        self._identified.append(self._clock())

    def _used_up(self) -> bool:
        full = len(self._identified) == IDENTIFIES_A_DAY
        return full and self._clock() - self._identified[0] < DAY
