"""The ledger: everything that happened in the playground, in order, with its time.

Promises that nothing that reached the server is missing from it, and that waiters wake at the
change they wait for. It never polls and never alters what it records.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from bot.playground.wire import Json

EPHEMERAL = 1 << 6
LOADING = 1 << 7
SUPPRESS_EMBEDS = 1 << 2

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One HTTP request: what was asked, what was answered, and how long it took.

    `status` is 0 when no whole answer was given (a cut or truncated connection);
    `route` is empty when the playground has no such route.
    """

    at: float
    method: str
    path: str
    route: str
    query: Mapping[str, str]
    body: Any
    file_names: tuple[str, ...]
    status: int
    answer: Any
    fault: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRecord:
    """One thing that happened on the gateway: connect, identify, resume, close, presence…"""

    at: float
    what: str
    session_id: str | None = None
    detail: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a message looked like from a moment on."""

    at: float
    data: Json


@dataclass(slots=True, kw_only=True, eq=False)
class MessageRecord:
    """One message with its whole life; `data` is Discord's own JSON of how it is now."""

    id: int
    channel_id: int
    author_id: int
    data: Json
    files: list[Json]
    created_at: float
    visible_to: int | None = None
    nonce: str | None = None
    interaction_id: int | None = None
    versions: list[Version] = field(default_factory=list)
    deleted_at: float | None = None

    @property
    def content(self) -> str:
        """Return the text as it is now."""
        return str(self.data["content"])

    @property
    def attachments(self) -> list[Json]:
        """Return the attachments as they are now."""
        return list(self.data["attachments"])

    @property
    def components(self) -> list[Json]:
        """Return every button, menu and other leaf of the message, flattened."""
        return leaves(self.data["components"])

    @property
    def custom_ids(self) -> list[str]:
        """Return the custom ids that can be pressed, in order."""
        return [str(item["custom_id"]) for item in self.components if "custom_id" in item]

    @property
    def ephemeral(self) -> bool:
        """Tell whether only one person sees it."""
        return bool(self.data["flags"] & EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Tell whether it still says "is thinking…"."""
        return bool(self.data["flags"] & LOADING)

    @property
    def edits(self) -> int:
        """Return how often it was changed since it was created."""
        return len(self.versions) - 1

    def seen_by(self, user_id: int) -> bool:
        """Tell whether that person can see it now."""
        return self.deleted_at is None and self.visible_to in (None, user_id)


def leaves(components: list[Json]) -> list[Json]:
    """Return the components that hold no others."""
    found: list[Json] = []
    for item in components:
        inner = list(item.get("components", []))
        inner += [item[key] for key in ("accessory", "component") if key in item]
        found += leaves(inner) if inner else [item]
    return found


class InteractionState(StrEnum):
    """Where an interaction stands, as the person who started it sees it."""

    PENDING = "pending"
    ACKNOWLEDGED = "ack"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One thing that happened to an interaction, with its time."""

    at: float
    what: str


@dataclass(slots=True, kw_only=True, eq=False)
class PlayInteraction:
    """One command, press, autocompletion or modal, from its dispatch to its last followup."""

    id: int
    token: str
    type: int
    user_id: int
    channel_id: int
    payload: Json
    created_at: float
    acknowledged: asyncio.Future[InteractionState]
    nonce: str | None = None
    state: InteractionState = InteractionState.PENDING
    history: list[Transition] = field(default_factory=list)
    response: Json | None = None
    source_message_id: int | None = None
    message_id: int | None = None
    followups: list[int] = field(default_factory=list)

    @property
    def response_type(self) -> int | None:
        """Return the type of the callback, None while there was none."""
        return None if self.response is None else int(self.response["type"])

    @property
    def choices(self) -> list[Json]:
        """Return the choices of an answered autocompletion."""
        if self.response is None or self.response_type != 8:
            return []
        return list(self.response["data"].get("choices") or [])

    @property
    def modal(self) -> Json | None:
        """Return the modal that the bot opened, if it did."""
        if self.response is None or self.response_type != 9:
            return None
        modal: Json = self.response["data"]
        return modal


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """Somebody who waits for the ledger to say something."""

    predicate: Callable[[Ledger], object]
    future: asyncio.Future[Any]


class Ledger:
    """Records requests, gateway events, messages and interactions; wakes who waits for them."""

    def __init__(self, *, keep: int = 50_000) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=keep)
        self.gateway: deque[GatewayRecord] = deque(maxlen=keep)
        self.messages: dict[int, MessageRecord] = {}
        self.interactions: dict[int, PlayInteraction] = {}
        self._waiters: list[Waiter] = []

    def note_request(self, record: RequestRecord) -> None:
        """Add a finished request."""
        self.requests.append(record)
        self.changed()

    def note_gateway(self, record: GatewayRecord) -> None:
        """Add something that happened on the gateway."""
        self.gateway.append(record)
        self.changed()

    def asked(self, method: str, route: str) -> list[RequestRecord]:
        """Return the requests of one method and route template, oldest first."""
        return [item for item in self.requests if (item.method, item.route) == (method, route)]

    def happened(self, what: str) -> list[GatewayRecord]:
        """Return the gateway's records of one kind, oldest first."""
        return [item for item in self.gateway if item.what == what]

    def in_channel(self, channel_id: int) -> list[MessageRecord]:
        """Return the messages of a channel that are not deleted, oldest first."""
        found = (item for item in self.messages.values() if item.channel_id == channel_id)
        return [item for item in found if item.deleted_at is None]

    @property
    def invalid_requests(self) -> int:
        """Count what Discord counts towards a ban: 401, 403, and 429 unless shared."""
        return sum(
            item.status in (401, 403) or (item.status == 429 and item.fault != "limited_shared")
            for item in self.requests
        )

    @property
    def unknown(self) -> list[RequestRecord]:
        """Return the requests that no route of the playground answers."""
        return [item for item in self.requests if not item.route]

    def changed(self) -> None:
        """Let every waiter look again."""
        for waiter in list(self._waiters):
            if waiter.future.done():
                continue
            try:
                found = waiter.predicate(self)
            except Exception as error:
                waiter.future.set_exception(error)
                continue
            if found:
                waiter.future.set_result(found)

    async def wait(
        self,
        predicate: Callable[[Ledger], Found | None],
        *,
        timeout: float = 5.0,  # noqa: ASYNC109
    ) -> Found:
        """Wait until the predicate says something true, and return it."""
        if found := predicate(self):
            return found
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        waiter = Waiter(predicate, future)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._waiters.remove(waiter)
