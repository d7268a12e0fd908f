"""What the playground's tests share: the judge, a bare HTTP client, a real discord.py client.

The judge holds every recorded request and answer against Discord's own OpenAPI file.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest
from jsonschema_rs import Draft202012, Draft202012Validator, Registry
from PIL import Image

from bot.playground import Json, Playground, RequestRecord, aim

OPENAPI = Path(__file__).parent / "data" / "discord-openapi.json"
ROOT = "urn:discord"


class Judge:
    """Finds the operation of a request and validates what was sent and answered."""

    def __init__(self) -> None:
        self._validators: dict[tuple[bool, str], Draft202012Validator] = {}
        self._document: Json = json.loads(OPENAPI.read_text(encoding="utf-8"))
        # The reference shows words such as BASE_TYPE_REQUIRED inside a form's errors, and so
        # does the real API; the preview document reuses its numeric error there.
        inner = self._document["components"]["schemas"]["InnerErrors"]["properties"]["_errors"]
        inner["items"] = {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
        self._answers = registry_of(self._document)
        lenient = json.loads(OPENAPI.read_text(encoding="utf-8"))
        schemas = lenient["components"]["schemas"]
        # Discord takes ids as numbers too, and discord.py numbers its files so.
        schemas["SnowflakeType"]["type"] = ["string", "integer"]
        self._requests = registry_of(lenient)
        paths: list[str] = sorted(self._document["paths"], key=lambda path: path.count("{"))
        self._paths = [(path, re.compile(re.sub(r"\{\w+\}", "[^/]+", path))) for path in paths]

    def check(self, records: Iterable[RequestRecord]) -> int:
        """Raise AssertionError at the first record that breaks the document; count the rest."""
        judged = 0
        for record in records:
            if record.route:
                self._check_one(record)
                judged += 1
        return judged

    def _check_one(self, record: RequestRecord) -> None:
        where = f"{record.method} {record.path} -> {record.status}"
        template = self._template(record)
        pointer = f"/paths/{escape(template)}/{record.method.lower()}"
        operation = self._document["paths"][template][record.method.lower()]
        known = {item["name"] for item in operation.get("parameters", [])}
        assert set(record.query) <= known, f"{where}: unknown query {set(record.query) - known}"
        if record.body is not None and record.status < 400:
            content = operation["requestBody"]["content"]
            kind = "application/json" if "application/json" in content else next(iter(content))
            place = f"{pointer}/requestBody"
            self._validate(self._requests, place, kind, record.body, f"{where} request")
        if record.status == 0 or record.status >= 500:
            return
        status = str(record.status)
        if status not in operation["responses"]:
            status = f"{status[0]}XX"
        assert status in operation["responses"], f"{where}: no such answer is documented"
        answer = operation["responses"][status]
        if "$ref" in answer:
            pointer = answer["$ref"].removeprefix("#")
        else:
            pointer = f"{pointer}/responses/{status}"
        if "content" not in answer and "$ref" not in answer:
            assert record.answer is None, f"{where}: documented as empty"
            return
        kind = "application/json"
        self._validate(self._answers, pointer, kind, record.answer, f"{where} answer")

    def _template(self, record: RequestRecord) -> str:
        method = record.method.lower()
        for path, pattern in self._paths:
            if pattern.fullmatch(record.path) and method in self._document["paths"][path]:
                return path
        raise AssertionError(f"Discord has no {record.method} {record.path}")

    def _validate(
        self,
        registry: Registry,
        pointer: str,
        kind: str,
        value: object,
        where: str,
    ) -> None:
        reference = f"{ROOT}#{pointer}/content/{escape(kind)}/schema"
        key = registry is self._answers, reference
        validator = self._validators.get(key)
        if validator is None:
            validator = Draft202012Validator({"$ref": reference}, registry=registry)
            self._validators[key] = validator
        error = next(validator.iter_errors(value), None)
        if error is not None:
            raise AssertionError(f"{where}: {error.instance_path}: {error.message[:600]}")


def registry_of(document: Json) -> Registry:
    """Return a registry that resolves references into a document."""
    return Registry([(ROOT, document)], draft=Draft202012)


def escape(part: str) -> str:
    """Escape a key for a JSON pointer in a fragment."""
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


@cache
def the_judge() -> Judge:
    """Return the one judge; reading the document takes a moment."""
    return Judge()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as a test sees it."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """Return Discord's error code."""
        return int(self.body["code"])


class Rest:
    """A bare client of the HTTP API."""

    def __init__(self, pg: Playground, session: aiohttp.ClientSession) -> None:
        self.pg = pg
        self.session = session

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        files: list[tuple[str, bytes]] | None = None,
        token: str | None = None,
    ) -> Reply:
        data: Any = None
        given = self.pg.token if token is None else token
        headers = {"Authorization": f"Bot {given}"}
        if files:
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("payload_json", json.dumps(body))
            for index, (name, content) in enumerate(files):
                form.add_field(f"files[{index}]", io.BytesIO(content), filename=name)
            data = form
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body)
        url = self.pg.api_base + path
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            raw = await answer.read()
            parsed = json.loads(raw) if raw else None
            return Reply(status=answer.status, body=parsed, headers=dict(answer.headers))


@contextlib.asynccontextmanager
async def judged(pg: Playground) -> AsyncIterator[Playground]:
    """Run a playground and judge everything that was said, at its end."""
    async with pg:
        yield pg
        the_judge().check(pg.ledger.requests)


@contextlib.asynccontextmanager
async def rest_of(pg: Playground) -> AsyncIterator[Rest]:
    """Run a judged playground with a bare client."""
    async with judged(pg), aiohttp.ClientSession() as session:
        yield Rest(pg, session)


@contextlib.asynccontextmanager
async def aimed(pg: Playground, client: discord.Client) -> AsyncIterator[discord.Client]:
    """Connect a real discord.py client, and take everything back afterwards."""
    undo = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
    try:
        async with running(pg, client):
            yield client
    finally:
        undo()


@contextlib.asynccontextmanager
async def running(pg: Playground, client: discord.Client) -> AsyncIterator[discord.Client]:
    """Run a client until the block ends; its own failure fails the block."""
    async with client:
        task = asyncio.create_task(client.start(pg.token))
        ready = asyncio.create_task(pg.wait(lambda ledger: ledger.happened("ready")))
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                ready.cancel()
                await task
            yield client
        finally:
            await client.close()
            await task


def png(width: int = 8, height: int = 8, colour: str = "red") -> bytes:
    """Make a small picture."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def record(**changes: Any) -> RequestRecord:  # noqa: ANN401
    """Make a request record for the judge."""
    plain: dict[str, Any] = {
        "at": 0.0,
        "method": "GET",
        "path": "/gateway",
        "route": "/gateway",
        "query": {},
        "body": None,
        "file_names": (),
        "status": 200,
        "answer": {"url": "ws://127.0.0.1/"},
        "fault": None,
        "seconds": 0.0,
    }
    return RequestRecord(**(plain | changes))


def test_the_judge_accepts_what_is_documented() -> None:
    assert the_judge().check([record()]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": {"address": "ws://127.0.0.1/"}},
        {"path": "/gateways"},
        {"query": {"fast": "1"}},
        {"method": "POST"},
        {
            "method": "POST",
            "path": "/channels/1/messages",
            "body": {"content": 7},
            "answer": {},
        },
        {"method": "POST", "path": "/channels/1/typing", "status": 204, "answer": {"a": 1}},
        {"status": 404, "answer": {"message": "no"}},
        {"status": 429, "answer": {"message": "no", "code": 0}},
    ],
)
def test_the_judge_refuses_what_is_not(changes: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        the_judge().check([record(**changes)])
