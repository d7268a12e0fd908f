"""The bot as a process of its own, for tests that end it: `python -m tests.child run …`.

Promises the real command line, client, store and sockets; only the engine is the tests' fake and
the addresses are the playground's. `EASEL_TEST` holds the wishes as JSON: api, gateway, cdn, crash
("point:n": die by SIGKILL the n-th time a job passes the point), hold (stop before that step),
prepare ("module:function": called with the engine and the wishes before the bot starts).

`python -m tests.child --nursery` imports everything once and then becomes a bot for every line of
JSON on its standard input: a fork, so that a test which starts a bot a hundred times pays once for
what Python does before `main`. It tells the processes' ids and ends, and takes them along when its
input ends.
"""

import atexit
import functools
import gc
import json
import os
import select
import signal
import sys
import threading
from collections import Counter
from importlib import import_module
from typing import Any, NoReturn

from PIL import Image

import bot.serving
from bot.__main__ import main
from bot.app import App
from bot.language import read_all
from bot.playground import aim
from bot.poster import no_crash
from tests.fakes import FakeEngine, model_info

# What a start imports inside its functions, or a library when it is first used.
LATER = (
    "bot.loading",
    "bot.logs",
    "bot.secrets",
    "storage.migrate",
    "anyio._backends._asyncio",
    "numpy.ma",
    "rich._emoji_codes",
)


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
        getattr(import_module(module), function)(engine, {**wishes, "crash": crash})


def nurse() -> None:
    """Fork for every line read; return in each child, and never in the parent."""
    for name in LATER:
        import_module(name)
    Image.preinit()
    read_all()
    gc.collect()
    gc.freeze()
    # A wake-up for the loop below: a child's end writes here.
    ends, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    born: set[int] = set()
    waiting = b""
    _tell({"ready": True})
    while True:
        ready, _, _ = select.select([0, ends], [], [])
        if ends in ready:
            os.read(ends, 4096)
            _tell_ends(born)
        if 0 not in ready:
            continue
        read = os.read(0, 65536)
        if not read:
            break
        *lines, waiting = (waiting + read).split(b"\n")
        for line in lines:
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(ends)
                os.close(wake)
                _become(json.loads(line))
                return
            born.add(child)
            _tell({"born": child})
    for child in born:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os._exit(0)


def _tell(word: dict[str, Any]) -> None:
    os.write(1, json.dumps(word).encode() + b"\n")


def _tell_ends(born: set[int]) -> None:
    for child in list(born):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            born.discard(pid)
            _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _become(wanted: dict[str, Any]) -> None:
    """Take on the arguments, the environment and the outputs that a start would have given."""
    os.environ.update(wanted["environment"])
    sys.argv[1:] = wanted["arguments"]
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for old, new in ((0, nothing), (1, nothing), (2, log)):
        os.dup2(new, old)


def leave(code: int) -> NoReturn:
    """End as Python does, but for taking apart what the parent imported.

    That costs a forked child more than its whole life: all of its memory is copied for it.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    is_born = "--nursery" in sys.argv
    if is_born:
        nurse()
    prepare(json.loads(os.environ["EASEL_TEST"]))
    try:
        main()
    except SystemExit as end:
        if is_born and isinstance(end.code, int | None):
            leave(end.code or 0)
        raise
