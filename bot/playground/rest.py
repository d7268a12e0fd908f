"""The HTTP API's front door: routes, tokens, rate limits, faults, the ledger.

Promises that every request is recorded and that one the playground does not know is a loud 501.
What a route does is in the `rest_*` modules.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.playground.bodies import let_go, read_body
from bot.playground.cdn import Upload
from bot.playground.errors import ApiError, Refusal
from bot.playground.faults import Fault, FaultKind, Faults
from bot.playground.ledger import RequestRecord
from bot.playground.ratelimits import Limit, RateLimits
from bot.playground.wire import Json
from bot.playground.world import World

log = logging.getLogger(__name__)

VERSION = re.compile(r"/api/v(9|10)(?=/)")
MAJORS = ("channel_id", "guild_id", "webhook_id", "webhook_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that reached its route."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    files: Sequence[Upload]

    def number(self, name: str) -> int:
        """Return an id from the path."""
        return int(self.params[name])

    def flag(self, name: str) -> bool:
        """Return a boolean of the query."""
        return self.query.get(name, "").lower() in ("1", "true")

    def form(self) -> Json:
        """Return the body as an object, refusing anything else."""
        if not isinstance(self.body, dict):
            raise Refusal.INVALID_JSON.error()
        return self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and its JSON; without a body, 204."""

    body: Any = None
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API and who answers it."""

    method: str
    template: str
    handler: Callable[[Call], Awaitable[Answer]]
    limit: Limit | None = None
    needs_token: bool = True
    counts_globally: bool = True


@dataclass(frozen=True, slots=True)
class Matched:
    """A route and what stood in its placeholders."""

    route: Route
    params: Mapping[str, str]


@dataclass(slots=True, kw_only=True, eq=False)
class Exchange:
    """One request on its way through, with what is known of it so far."""

    request: web.Request
    path: str
    found: Matched | None
    fault: Fault | None
    body: Any = None
    files: Sequence[Upload] = ()
    started: float = field(default_factory=time.monotonic)

    def meets(self, kind: FaultKind) -> Fault | None:
        """Return its fault, if that is what goes wrong with it."""
        return self.fault if self.fault is not None and self.fault.kind is kind else None


class Api:
    """Dispatches requests to routes."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        limits: RateLimits,
        routes: Iterable[Route],
    ) -> None:
        self._world = world
        self._faults = faults
        self._limits = limits
        self._routes = [(compile_template(route), route) for route in routes]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of the API, or cut it off where a fault says so."""
        path = VERSION.sub("", request.path, count=1)
        exchange = Exchange(
            request=request,
            path=path,
            found=self._match(request.method, request.rel_url.raw_path),
            fault=self._faults.take(request.method, path),
        )
        if hanging := exchange.meets(FaultKind.HANG):
            await let_go(hanging, hanging.seconds)
        response = None
        if not gone(request) and not exchange.meets(FaultKind.RESET_BEFORE):
            response = await self._respond(exchange)
        if exchange.meets(FaultKind.RESET_AFTER):
            response = None
        self._note(exchange, response)
        if response is None:
            return cut(request)
        if exchange.meets(FaultKind.TRUNCATED):
            return await truncated(request, response)
        return response

    async def _respond(self, exchange: Exchange) -> web.Response | None:
        """Read the request and answer it; None when the client went away meanwhile."""
        request = exchange.request
        try:
            slow = exchange.meets(FaultKind.THROTTLE)
            exchange.body, exchange.files = await read_body(request, slow)
            if slow is not None:
                await let_go(slow, slow.seconds)
                if gone(request):
                    return None
            return await self._answer(exchange)
        except ApiError as error:
            return json_response(error.status, error.to_json(), {})
        except ConnectionError:
            return None
        except Exception:
            log.exception("the playground failed at %s %s", request.method, exchange.path)
            return json_response(500, {"message": "500: Internal Server Error", "code": 0}, {})

    async def _answer(self, exchange: Exchange) -> web.Response:
        request, found, fault = exchange.request, exchange.found, exchange.fault
        if fault is not None and (response := wrong_answer(fault)):
            return response
        if found is None:
            log.error("the playground has no route %s %s", request.method, request.path)
            answer = {"message": f"501: no {request.method} {request.path} here", "code": 0}
            return json_response(501, answer, {})
        route = found.route
        if route.needs_token and not self._authorised(request):
            raise Refusal.UNAUTHORIZED.error()
        major = "+".join(found.params[name] for name in MAJORS if name in found.params)
        verdict = self._limits.hit(route.limit, major, counts_globally=route.counts_globally)
        if verdict.retry_after is not None:
            return limited(verdict.retry_after, verdict.scope, verdict.headers)
        call = Call(
            params=found.params, query=request.query, body=exchange.body, files=exchange.files
        )
        try:
            given = await route.handler(call)
        except ApiError as error:
            extra = {"retry_after": 5.0, "global": False} if error.status == 429 else {}
            return json_response(error.status, error.to_json() | extra, verdict.headers)
        return json_response(given.status, given.body, verdict.headers)

    def _match(self, method: str, raw_path: str) -> Matched | None:
        path, versions = VERSION.subn("", raw_path, count=1)
        if not versions:
            return None
        for pattern, route in self._routes:
            if route.method == method and (found := pattern.fullmatch(path)):
                return Matched(route, found.groupdict())
        return None

    def _authorised(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "")
        expected = f"Bot {self._world.token}"
        return hmac.compare_digest(given.encode(), expected.encode())

    def _note(self, exchange: Exchange, response: web.Response | None) -> None:
        whole = response is not None and not exchange.meets(FaultKind.TRUNCATED)
        raw = response.body if response is not None else None
        self._world.ledger.note_request(
            RequestRecord(
                at=self._world.clock.now(),
                method=exchange.request.method,
                path=exchange.path,
                route="" if exchange.found is None else exchange.found.route.template,
                query=dict(exchange.request.query),
                body=exchange.body,
                file_names=tuple(upload.filename for upload in exchange.files),
                status=response.status if response is not None and whole else 0,
                answer=json.loads(raw) if isinstance(raw, bytes) and raw else None,
                fault=None if exchange.fault is None else exchange.fault.kind.value,
                seconds=time.monotonic() - exchange.started,
            )
        )


def compile_template(route: Route) -> re.Pattern[str]:
    """Turn `/channels/{channel_id}` into a pattern; ids must be numbers."""

    def group(found: re.Match[str]) -> str:
        name = found.group(1)
        inner = r"\d{1,20}" if name.endswith("_id") else r"[^/]+"
        return f"(?P<{name}>{inner})"

    return re.compile(re.sub(r"\{(\w+)\}", group, route.template))


def json_response(status: int, body: Any, headers: Mapping[str, str]) -> web.Response:  # noqa: ANN401
    """Answer with exactly `application/json`, as clients compare it."""
    everything = {"Via": "1.1 playground", **headers}
    if body is None:
        return web.Response(status=204 if status == 200 else status, headers=everything)
    data = json.dumps(body, separators=(",", ":")).encode()
    return web.Response(
        status=status, body=data, headers=everything, content_type="application/json"
    )


def limited(retry_after: float, scope: str, headers: Mapping[str, str]) -> web.Response:
    """Answer 429 in the form that clients wait for."""
    body = {
        "message": "You are being rate limited.",
        "retry_after": round(retry_after, 3),
        "global": scope == "global",
        "code": 0,
    }
    more = {"Retry-After": str(math.ceil(retry_after)), "X-RateLimit-Scope": scope}
    if scope == "global":
        more["X-RateLimit-Global"] = "true"
    return json_response(429, body, {**headers, **more})


def wrong_answer(fault: Fault) -> web.Response | None:
    """Return the answer of a fault that answers instead of the route."""
    scopes = {
        FaultKind.LIMITED_ROUTE: "user",
        FaultKind.LIMITED_GLOBAL: "global",
        FaultKind.LIMITED_SHARED: "shared",
    }
    if fault.kind in scopes:
        return limited(fault.seconds, scopes[fault.kind], {})
    if fault.kind is FaultKind.STATUS:
        body = {"message": f"{fault.status}: something went wrong", "code": 0}
        return json_response(fault.status, body, {})
    return None


def gone(request: web.Request) -> bool:
    """Tell whether the client hung up."""
    return request.transport is None or request.transport.is_closing()


def cut(request: web.Request) -> web.StreamResponse:
    """Reset the client's connection, so that it sees ECONNRESET."""
    transport = request.transport
    if transport is not None:
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response()


async def truncated(request: web.Request, response: web.Response) -> web.StreamResponse:
    """Send half of an answer and cut the connection."""
    data = response.body if isinstance(response.body, bytes) else b""
    partial = web.StreamResponse(status=response.status, headers=response.headers)
    partial.content_length = len(data)
    await partial.prepare(request)
    await partial.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return partial
