"""Files that people attach: fetched from Discord's own store, bounded, and from nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.resolver import DefaultResolver
from aiohttp.test_utils import TestServer
from discord.asset import Asset

from bot import enclosed
from bot.enclosed import EnclosedError, PublicOnly, is_of_discord, read_enclosed


def attachment(url: str, size: int = 3) -> Any:  # noqa: ANN401 - all that is read of one
    """Return what Discord says about a file."""
    return SimpleNamespace(url=url, size=size)


@asynccontextmanager
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve a store of files in Discord's place; yields its address and what was asked of it."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        match request.match_info["name"]:
            case "moved":
                raise web.HTTPFound("/f/target")
            case "gone":
                raise web.HTTPNotFound
            case "endless":
                stream = web.StreamResponse()
                await stream.prepare(request)
                while True:
                    await stream.write(b"x" * 2**20)
            case "slow":
                await asyncio.Event().wait()
        return web.Response(body=b"abc")

    app = web.Application()
    app.router.add_get("/f/{name}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        base = str(server.make_url("/f"))
        monkeypatch.setattr(Asset, "BASE", base)
        yield base, asked


async def test_a_file_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with store(monkeypatch) as (base, _):
        assert await read_enclosed(attachment(f"{base}/a.png")) == b"abc"


@pytest.mark.parametrize("name", ["moved", "gone", "endless", "slow"])
async def test_what_is_amiss_is_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enclosed, "SECONDS", 0.5 if name == "slow" else 10.0)
    async with store(monkeypatch) as (base, asked):
        with pytest.raises(EnclosedError, match=r"file"):
            await read_enclosed(attachment(f"{base}/{name}"))
        assert asked == [f"/f/{name}"]


async def test_what_is_too_large_or_lies_elsewhere_is_never_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with store(monkeypatch) as (base, asked):
        with pytest.raises(EnclosedError, match="10 MiB"):
            await read_enclosed(attachment(f"{base}/a.png", size=10 * 2**20 + 1))
        other = base.removesuffix("/f") + "/g/a.png"
        with pytest.raises(EnclosedError):
            await read_enclosed(attachment(other))
        assert asked == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "169.254.169.254", "10.0.0.1", "::1"])
async def test_names_that_lead_into_a_private_network_lead_nowhere(host: str) -> None:
    resolver = PublicOnly()
    with pytest.raises(OSError, match=r"."):
        await resolver.resolve(host, 443)
    await resolver.close()


async def test_discords_own_name_is_looked_up_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rebound(*_: object, **__: object) -> list[dict[str, object]]:
        return [{"host": "127.0.0.1", "port": 443, "family": 2, "proto": 6, "flags": 0}]

    monkeypatch.setattr(DefaultResolver, "resolve", rebound)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with pytest.raises(EnclosedError) as caught:
        await read_enclosed(attachment("https://cdn.discordapp.com/x/a.png"))
    assert "private network" in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "https://cdn.discordapp.com.evil.example/x.png",
        "https://cdn.discordapp.com@evil.example/x.png",
        "https://cdn.discordapp.com/x@evil.example",
        "http://cdn.discordapp.com/x.png",
        "https://media.discordapp.net:8443/x.png",
        "file:///etc/passwd",
        "",
    ],
)
def test_only_discords_own_addresses_are_opened(url: str) -> None:
    assert not is_of_discord(url)
    assert is_of_discord("https://cdn.discordapp.com/ephemeral-attachments/1/2/x.png?ex=1")
