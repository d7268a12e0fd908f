"""The bot as a process of its own, for tests that end it: `python -m tests.child run …`.

Promises the real command line, client, store and sockets; only the engine is the tests' fake and
the addresses are the playground's. `EASEL_TEST` holds the wishes as JSON: api, gateway, cdn, crash
("point:n": die by SIGKILL the n-th time a job passes the point), hold (stop before that step),
prepare ("module:function": called with the engine and the wishes before the bot starts).
"""

import functools
import json
import os
import signal
import sys
from collections import Counter
from importlib import import_module
from typing import Any

import bot.serving
from bot.__main__ import main
from bot.app import App
from bot.playground import aim
from bot.poster import no_crash
from tests.fakes import FakeEngine, model_info


class CrashAt:
    """Kills this process, as `kill -9` does, when a point is passed for the n-th time."""

    def __init__(self, wish: str) -> None:
        point, _, number = wish.partition(":")
        self._point, self._number = point, int(number or 1)
        self._passed: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self._passed[point] += 1
        if point == self._point and self._passed[point] == self._number:
            os.kill(os.getpid(), signal.SIGKILL)


def prepare(wishes: dict[str, Any]) -> None:
    """Put the fakes where the product loads its engine and models."""
    engine = FakeEngine(seconds_per_step=0.01)
    if wishes.get("hold"):
        engine.hold(int(wishes["hold"]))
    crash = CrashAt(wishes["crash"]) if wishes.get("crash") else no_crash
    fakes = {
        "load_engine": lambda config: engine,
        "describe_models": lambda config: {"emoji": model_info()},
        "App": functools.partial(App, crash=crash),
    }
    vars(bot.serving).update(fakes)
    aim(wishes["api"], wishes["gateway"], wishes["cdn"])
    if wishes.get("prepare"):
        module, _, function = wishes["prepare"].partition(":")
        getattr(import_module(module), function)(engine, wishes)


if __name__ == "__main__":
    prepare(json.loads(os.environ["EASEL_TEST"]))
    sys.exit(main())  # type: ignore[func-returns-value]
