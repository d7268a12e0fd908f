"""Switches that make the playground misbehave as Discord and networks do.

Promises that a fault happens exactly as often as asked, to the first requests that match, and
that the ledger says so. A fault never happens by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol


class FaultKind(StrEnum):
    """What goes wrong with a request."""

    LIMITED_ROUTE = "limited_route"
    LIMITED_GLOBAL = "limited_global"
    LIMITED_SHARED = "limited_shared"
    STATUS = "status"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HANG = "hang"
    TRUNCATED = "truncated"
    THROTTLE = "throttle"


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """One switch: which requests, what happens, how often, how often it already did.

    `route` is a pattern such as `/channels/*/messages`, without host and version. `hang` holds a
    request until `released` is set or `seconds` are over, and then serves it; `throttle` lets its
    body in at `bytes_per_second` before that. `met` is set once a request has run into it.
    """

    kind: FaultKind
    method: str
    route: str
    count: int
    status: int = 500
    seconds: float = 0.0
    bytes_per_second: float = math.inf
    hits: int = 0
    met: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def matches(self, method: str, path: str) -> bool:
        """Tell whether it applies to a request and is not used up."""
        if self.hits >= self.count or self.method not in ("*", method):
            return False
        return fnmatchcase(path, self.route)


class GatewayControls(Protocol):
    """What the gateway lets the switches do."""

    def close_all(self, code: int) -> None:
        """Close every connection with a close code; 1006 cuts it without one."""

    def invalidate(self, *, resumable: bool) -> None:
        """Send INVALID_SESSION to every connection."""

    def request_reconnect(self) -> None:
        """Send RECONNECT to every connection."""

    def half_open(self) -> None:
        """Let every connection die without a word."""

    def repeat(self, count: int) -> None:
        """Send the last events once more."""


class Faults:
    """The panel of switches."""

    def __init__(self) -> None:
        self.refused_connects = 0
        self.refused_resumes = 0
        self.missed_acks = 0
        self.silent = False
        self._rules: list[Fault] = []
        self._gateway: GatewayControls | None = None

    def attach(self, gateway: GatewayControls) -> None:
        """Connect the gateway's switches."""
        self._gateway = gateway

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that this request meets, counting it."""
        for rule in self._rules:
            if rule.matches(method, path):
                rule.hits += 1
                rule.met.set()
                return rule
        return None

    def clear(self) -> None:
        """Switch everything off and let go what hangs."""
        for rule in self._rules:
            rule.released.set()
        self._rules.clear()
        self.refused_connects = self.refused_resumes = self.missed_acks = 0
        self.silence(on=False)

    def rate_limit(
        self,
        method: str,
        route: str,
        *,
        scope: str = "route",
        retry_after: float = 0.2,
        count: int = 1,
    ) -> Fault:
        """Answer 429; `scope` is route, global or shared."""
        kind = FaultKind(f"limited_{scope}")
        return self._add(kind, method, route, count=count, seconds=retry_after)

    def status(self, status: int, method: str, route: str, *, count: int = 1) -> Fault:
        """Answer with an error of the server's, such as 503, and do nothing."""
        return self._add(FaultKind.STATUS, method, route, count=count, status=status)

    def reset_before(self, method: str, route: str, *, count: int = 1) -> Fault:
        """Cut the connection before anything is done."""
        return self._add(FaultKind.RESET_BEFORE, method, route, count=count)

    def reset_after(self, method: str, route: str, *, count: int = 1) -> Fault:
        """Do what was asked, then cut the connection instead of answering."""
        return self._add(FaultKind.RESET_AFTER, method, route, count=count)

    def hang(self, method: str, route: str, *, seconds: float = 30.0, count: int = 1) -> Fault:
        """Hold the request before serving it, unless the client gives up first."""
        return self._add(FaultKind.HANG, method, route, count=count, seconds=seconds)

    def throttle(
        self,
        method: str,
        route: str,
        *,
        bytes_per_second: float,
        seconds: float = 0.0,
        count: int = 1,
    ) -> Fault:
        """Let the body in from the socket at that pace, hold the request, and then serve it.

        What the client has sent meanwhile waits in its own buffers. Raises ValueError for a pace
        at which nothing would ever arrive.
        """
        if not bytes_per_second > 0:
            raise ValueError(f"a body cannot come in at {bytes_per_second} bytes a second")
        return self._add(
            FaultKind.THROTTLE,
            method,
            route,
            count=count,
            seconds=seconds,
            bytes_per_second=bytes_per_second,
        )

    def truncate(self, method: str, route: str, *, count: int = 1) -> Fault:
        """Do what was asked and cut the connection in the middle of the answer."""
        return self._add(FaultKind.TRUNCATED, method, route, count=count)

    def close_gateway(self, code: int) -> None:
        """Close every gateway connection; 1006 cuts it without a close frame."""
        self._with_gateway(lambda gateway: gateway.close_all(code))

    def invalidate_session(self, *, resumable: bool = False) -> None:
        """Tell the client that its session is invalid."""
        self._with_gateway(lambda gateway: gateway.invalidate(resumable=resumable))

    def ask_reconnect(self) -> None:
        """Ask the client to reconnect and resume."""
        self._with_gateway(lambda gateway: gateway.request_reconnect())

    def half_open(self) -> None:
        """Leave the gateway's connections open but dead; new ones work."""
        self._with_gateway(lambda gateway: gateway.half_open())

    def replay_events(self, count: int) -> None:
        """Deliver the last gateway events a second time."""
        self._with_gateway(lambda gateway: gateway.repeat(count))

    def refuse_connects(self, count: int) -> None:
        """Turn away the next gateway connections."""
        self.refused_connects = count

    def refuse_resumes(self, count: int) -> None:
        """Answer the next RESUMEs with INVALID_SESSION."""
        self.refused_resumes = count

    def miss_acks(self, count: int) -> None:
        """Leave the next heartbeats unanswered."""
        self.missed_acks = count

    def silence(self, *, on: bool = True) -> None:
        """Send nothing on the gateway, as when a connection is half open; cut it at the end."""
        ended = self.silent and not on
        self.silent = on
        if ended:
            self.close_gateway(1006)

    def _add(
        self,
        kind: FaultKind,
        method: str,
        route: str,
        *,
        count: int,
        status: int = 500,
        seconds: float = 0.0,
        bytes_per_second: float = math.inf,
    ) -> Fault:
        rule = Fault(
            kind=kind,
            method=method,
            route=route,
            count=count,
            status=status,
            seconds=seconds,
            bytes_per_second=bytes_per_second,
        )
        self._rules.append(rule)
        return rule

    def _with_gateway(self, act: Callable[[GatewayControls], None]) -> None:
        if self._gateway is not None:
            act(self._gateway)
