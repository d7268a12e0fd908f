"""Whether the bot does its work: asked by a supervisor over HTTP, told to systemd unasked.

Promises an answer also while the event loop hangs, as another thread gives it; that systemd's
watchdog is fed from the loop alone, so that nothing but a loop that hangs starves it; and that
nothing here says what users typed. Speaks to systemd only where its `NOTIFY_SOCKET` is given.

## Why an outage of Discord feeds the watchdog

The bot outlives it and takes its jobs up again. A restart would only lose the session that can be
resumed, and every start logs in anew, of which Discord allows so many a day.
"""

import asyncio
import json
import logging
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import discord

from bot.config import Config
from bot.health import LagMeter

BEAT: Final = 1.0
# How long the loop may hang, and Discord be away, before that is no longer healthy, in seconds.
STALLED: Final = 5.0
AWAY: Final = 120.0

log = logging.getLogger(__name__)


class Notifier:
    """Tells systemd how a service is; says nothing where no systemd listens."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._said = ""

    def __call__(self, **words: str) -> None:
        """Send fields as READY="1" or STATUS="…"; a line break in one is a space."""
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract address.
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        message = "\n".join(f"{name}={' '.join(word.split())}" for name, word in words.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(message.encode(), address)
        except OSError as error:
            # Its queue may be full for a moment; the next beat says the same again.
            log.debug("systemd could not be told: %s", error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How things are now: what is wrong, in words, and everything that was looked at."""

    wrong: tuple[str, ...]
    facts: Mapping[str, object]

    @property
    def status(self) -> int:
        """Return the status of HTTP: 200 if all is well, else 503."""
        return 503 if self.wrong else 200

    def __bytes__(self) -> bytes:
        """Write it as JSON."""
        found = {"healthy": not self.wrong, "wrong": self.wrong, **self.facts}
        return json.dumps(found).encode() + b"\n"


class Liveness:
    """Beats once a second in the loop; `look` may be called from any thread."""

    def __init__(
        self,
        *,
        client: discord.Client,
        meter: LagMeter,
        settings: Callable[[], Config],
        alive: Callable[[], bool],
        notify: Notifier,
    ) -> None:
        self._client = client
        self._meter = meter
        self._settings = settings
        self._alive = alive
        self._notify = notify
        self._beaten = time.monotonic()
        # Since when the gateway is as it is: on the clock that never jumps, and on people's.
        self._connected = False
        self._since, self._since_when = self._beaten, datetime.now(UTC)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat: the bot has everything it needs, and connects from now on."""
        self._notify(READY="1", STATUS="connecting to Discord")
        self._task = asyncio.create_task(self._run(), name="liveness")

    async def stop(self) -> None:
        """Stop beating."""
        if self._task is not None:
            self._notify(STOPPING="1", STATUS="stopping")
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(BEAT)

    def beat(self) -> None:
        """Note that the loop runs and how the gateway is, and tell systemd both."""
        self._beaten = time.monotonic()
        connected = is_connected(self._client)
        if connected is not self._connected:
            self._connected = connected
            self._since, self._since_when = self._beaten, datetime.now(UTC)
        where = "connected to" if connected else "waiting for"
        self._notify(WATCHDOG="1", STATUS=f"{where} Discord since {self._clock}")

    @property
    def _clock(self) -> str:
        return self._since_when.isoformat(timespec="seconds")

    def look(self) -> Health:
        """Look at everything. Reads the disk's numbers: not for the loop."""
        now, lag = time.monotonic(), self._meter.value
        silent, alive = now - self._beaten, self._alive()
        away = 0.0 if self._connected else now - self._since
        storage = self._settings().storage
        free = free_of(storage.folder)
        wrong = [
            f"the event loop has hung for {silent:.0f} s" if silent > STALLED else "",
            f"Discord has been away for {away:.0f} s" if away > AWAY else "",
            "" if alive else "the engine is dead",
            "" if free >= storage.min_free_gib else f"{free:.1f} GiB are free, and jobs refused",
        ]
        return Health(
            wrong=tuple(filter(None, wrong)),
            facts={
                "loop": {
                    "silent_seconds": round(silent, 3),
                    "lag_p99_seconds": round(lag.p99, 4),
                    "lag_max_seconds": round(lag.max, 4),
                },
                "gateway": {"connected": self._connected, "since": self._clock},
                "engine": {"alive": alive},
                "disk": {"free_gib": round(free, 2), "needed_gib": storage.min_free_gib},
            },
        )


def is_connected(client: discord.Client) -> bool:
    """Tell whether the gateway is open, after a first session began."""
    # discord.py says no more when it is away: `is_ready` stays true for good.
    gateway = getattr(client, "ws", None)
    return client.is_ready() and gateway is not None and gateway.open


def free_of(folder: Path) -> float:
    """Return the free space of a folder's disk in GiB; none where it cannot be asked."""
    try:
        return shutil.disk_usage(folder).free / 2**30
    except OSError:
        return 0.0
