"""How the bot is: the event loop's lag, and numbers for Prometheus where an admin wants them.

Promises that the lag meter costs next to nothing and is always on; that metrics and health are
served on the loopback address alone, and only if the settings name a port, by a thread of their
own, so that they answer also while the event loop hangs. Never holds what users typed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from bot.liveness import Health

TICK: Final = 0.05
KEPT: Final = 1200
WARN_EVERY: Final = 10.0
# A client that says nothing may stay this long.
CLIENT_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """The event loop's lateness over the last minute, in seconds."""

    p50: float
    p99: float
    max: float


class LagMeter:
    """Wakes twenty times a second and notes how late it was."""

    def __init__(self, *, warn_seconds: float) -> None:
        self.warn_seconds = warn_seconds
        self._late: deque[float] = deque(maxlen=KEPT)
        self._worst = 0.0
        self._warned = -WARN_EVERY
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._task = asyncio.create_task(self._measure(), name="lag meter")

    async def stop(self) -> None:
        """Stop measuring; what was measured stays readable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def value(self) -> Lag:
        """Return the lag of the last minute, and the worst since the start."""
        late = sorted(self._late)
        if not late:
            return Lag(p50=0.0, p99=0.0, max=self._worst)
        return Lag(
            p50=late[len(late) // 2],
            p99=late[min(len(late) - 1, len(late) * 99 // 100)],
            max=self._worst,
        )

    def note(self, seconds: float) -> None:
        """Take in one measurement; warn at most every ten seconds."""
        self._late.append(seconds)
        self._worst = max(self._worst, seconds)
        now = time.monotonic()
        if seconds > self.warn_seconds and now - self._warned >= WARN_EVERY:
            self._warned = now
            log.warning(
                "the event loop was %.0f ms late; something computes where it should not",
                seconds * 1000,
            )

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.note(max(0.0, loop.time() - due))


class Metrics:
    """What Prometheus may ask, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.waiting = Gauge("easel_jobs_waiting", "Jobs that wait", registry=self.registry)
        self.running = Gauge("easel_jobs_running", "Jobs being painted", registry=self.registry)
        self.unposted = Gauge(
            "easel_jobs_unposted", "Jobs painted but not posted yet", registry=self.registry
        )
        self.ended = Counter(
            "easel_jobs_ended", "Jobs by their end", ["end"], registry=self.registry
        )
        self.acknowledged = Histogram(
            "easel_acknowledge_seconds",
            "From a command's arrival to its acknowledgement",
            buckets=(0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0),
            registry=self.registry,
        )
        self.lag = Gauge(
            "easel_loop_lag_seconds", "Lateness of the event loop", ["of"], registry=self.registry
        )
        self.promise_error = Histogram(
            "easel_eta_error_ratio",
            "How far the time that was foretold was off, as a share of what it took",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0),
            registry=self.registry,
        )
        self._server: tuple[WSGIServer, Thread] | None = None

    def promise_kept(self, error: float | None) -> None:
        """Take in how far a foretold time was off; None where none was told."""
        if error is not None:
            self.promise_error.observe(error)

    def watch_lag(self, meter: LagMeter) -> None:
        """Show this meter's values whenever somebody asks."""
        self.lag.labels("p50").set_function(lambda: meter.value.p50)
        self.lag.labels("p99").set_function(lambda: meter.value.p99)
        self.lag.labels("max").set_function(lambda: meter.value.max)

    def serve(self, port: int, look: "Callable[[], Health] | None" = None) -> int:
        """Listen on 127.0.0.1: /metrics and, where `look` says how things are, /healthz.

        Returns the port, which is any free one for 0. OSError when it is taken. `look` is called
        from another thread.
        """
        page = self._page(look)
        server = make_server("127.0.0.1", port, page, server_class=_Server, handler_class=_Handler)
        thread = Thread(target=server.serve_forever, name="health", daemon=True)
        self._server = server, thread
        thread.start()
        port = server.server_port
        log.info("metrics and health on http://127.0.0.1:%d/metrics and /healthz", port)
        return port

    def _page(
        self, look: "Callable[[], Health] | None"
    ) -> "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]":
        metrics = make_wsgi_app(self.registry)

        def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                found: Iterable[bytes] = metrics(environ, start)
                return found
            status, body = HTTPStatus.NOT_FOUND, b"/metrics or /healthz\n"
            kind = "text/plain"
            if path == "/healthz" and look is not None:
                health = look()
                status, body, kind = HTTPStatus(health.status), bytes(health), "application/json"
            head = [("Content-Type", kind), ("Content-Length", str(len(body)))]
            start(f"{status.value} {status.phrase}", head)
            return [body]

        return answer

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each client in a thread, so that none waits for another."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Answers without a line in the log for every look."""

    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
