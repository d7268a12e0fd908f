"""Attachments that would lead the bot elsewhere: crafted, forwarded and rebound, and no connection
but to the two hosts that hold Discord's files.

Every connection of this process is seen by an audit hook, so also one that nobody thought of.
"""

import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.resolver import DefaultResolver
from aiohttp.test_utils import TestServer
from discord.asset import Asset

from bot import enclosed
from bot.playground import InteractionState
from tests.bot_room import Room, open_room
from tests.hostile import chance_of
from tests.hostile_pictures import saved

PICTURE = saved("PNG", "RGB", (64, 64))
COMMANDS = ("describe", "verify", "imagine", "blend", "show")
REFUSED = "did not give me this file"
REAL = "https://cdn.discordapp.com"
# Where a name may be made to lead: this machine, its network, clouds' own addresses.
REBOUND = (
    "127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1",  # noqa: S104
    "100.64.0.1", "224.0.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:a9fe:a9fe::1",
)  # fmt: skip


class Watch:
    """What this process connects to and asks the names of, while it is switched on."""

    def __init__(self) -> None:
        """Hear from now until the process ends: an audit hook cannot be taken away."""
        self.on = False
        self.connected: set[tuple[str, int]] = set()
        self.asked: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if self.on and event == "socket.connect" and isinstance(given[1], tuple):
            self.connected.add((str(given[1][0]), int(given[1][1])))
        if self.on and event == "socket.getaddrinfo":
            self.asked.add(str(given[0]))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note everything inside the block, and nothing else."""
        self.connected.clear()
        self.asked.clear()
        self.on = True
        try:
            yield
        finally:
            self.on = False


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@asynccontextmanager
async def trap() -> AsyncIterator[tuple[str, list[str]]]:
    """Serve what nobody must reach; yields its address and what was asked of it."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=PICTURE, content_type="image/png")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/"), asked


@asynccontextmanager
async def forwarding(targets: list[str]) -> AsyncIterator[str]:
    """Serve a store in the place of Discord's, which sends everybody elsewhere."""

    async def answer(request: web.Request) -> web.Response:
        target = targets[int(request.match_info["number"])]
        status = (301, 302, 303, 307, 308)[int(request.match_info["number"]) % 5]
        return web.Response(status=status, headers={"Location": target})

    app = web.Application()
    app.router.add_get("/f/{number}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/f"))


def crafted(trap: str, cdn: str) -> Iterator[str]:
    """Yield addresses that an attachment object could hold and Discord never would, for ever."""
    chance, host = chance_of("urls"), trap.removeprefix("http://")
    name, port = host.split(":")
    hosts = [
        host, f"localhost:{port}", f"[::1]:{port}", f"0x7f.1:{port}", f"2130706433:{port}",
        f"017700000001:{port}", f"127.1:{port}", f"{name}.nip.io:{port}", "169.254.169.254",
        "[::ffff:169.254.169.254]", "metadata.google.internal", "evil.example",
        f"cdn.discordapp.com@{host}", f"cdn.discordapp.com:443@{host}",
        f"x:y@cdn.discordapp.com@{host}", f"cdn.discordapp.com.{host}", "cdn.discordapp.com:8443",
        "cdn.discordapp.com.", f"cdn.discordapp.com\\@{host}", f"{host}#@cdn.discordapp.com",
        f"{host}?cdn.discordapp.com", f"{host}/cdn.discordapp.com", "cdn。discordapp。com",
        "cdn.discordapp.com%2f@x", "cdn.dıscordapp.com", "discordapp.com", "media.discordapp.com",
        f"cdn.discordapp.com%00.{host}", f"cdn.discordapp.com\t@{host}",
    ]  # fmt: skip
    schemes = ("http", "https", "HTTPS", "ftp", "gopher", "file", "ws", "wss", "data", "javascript")
    for scheme in schemes:
        for each in hosts:
            if f"{scheme}://{each}".startswith(f"{REAL}/"):
                continue
            yield f"{scheme}://{each}/attachments/1/2/x.png"
    while True:
        own = chance.choice((cdn, REAL))
        yield chance.choice((
            f"{own}@{host}/x.png",
            f"{own}.{host}/x.png",
            f"{own}\\..\\..@{host}/x.png",
            f"//{host}/{chance.randrange(9)}",
            f"{own.replace('cdn', 'cdn.', 1)}x/x.png",
            f"{own}:80@{host}/{chance.randrange(999)}",
            f"http:{host}/x.png",
            chr(chance.randrange(33)) + f"{own}@{host}/x",
        ))  # fmt: skip


async def attach(room: Room, number: int, **changed: object) -> str:
    """Use a command with a file whose object says something else; return what is answered."""
    command = COMMANDS[number % len(COMMANDS)]
    upload = await room.pg.upload("alice", "x.png", PICTURE)
    upload.update(changed)
    options: dict[str, Any] = {"image": upload["id"]}
    if command == "blend":
        options = {"image1": upload["id"], "image2": upload["id"]}
    if command == "imagine":
        options["prompt"] = "a fox"
    ix = await room.pg.slash("alice", command, options)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED

    def answered(_: object) -> Any:  # noqa: ANN401 - a message or nothing
        ids = [*ix.followups, ix.message_id]
        shown = [room.pg.ledger.messages.get(each or 0) for each in ids]
        return next((each for each in shown if each is not None and not each.loading), None)

    return (await room.find(answered)).content


async def attach_all(tmp_path: Path, watch: Watch, count: int) -> None:
    """Craft so many attachments and see that each is refused and leads nowhere."""
    async with trap() as (address, asked), open_room(tmp_path) as room, room.bot():
        here = {("127.0.0.1", room.pg.port)}
        # The positive first: an honest attachment is fetched from where it lies.
        with watch.listening():
            assert REFUSED not in await attach(room, COMMANDS.index("verify"))
        assert watch.connected <= here
        before = len(room.engine.submitted)
        with watch.listening():
            for number, url in enumerate(islice(crafted(address, room.pg.cdn_base), count)):
                where = {"url": url} if number % 2 else {"url": url, "proxy_url": url}
                assert REFUSED in await attach(room, number, **where), url
        assert watch.connected <= here
        assert watch.asked <= {"127.0.0.1"}
        assert not asked
        assert len(room.engine.submitted) == before
        assert not await room.app.services.store.history()


async def test_crafted_attachments_lead_nowhere(tmp_path: Path, watch: Watch) -> None:
    await attach_all(tmp_path, watch, 40)


@pytest.mark.slow
async def test_five_hundred_crafted_attachments_lead_nowhere(tmp_path: Path, watch: Watch) -> None:
    await attach_all(tmp_path, watch, 500)


async def test_nobody_is_sent_elsewhere(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trap() as (address, asked), open_room(tmp_path) as room, room.bot():
        targets = [
            f"{address}/x.png", "http://127.0.0.1:22/", "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/", "file:///etc/passwd", "//evil.example/x", "/f/0", "gopher://x/",
            f"https://cdn.discordapp.com@{address.removeprefix('http://')}/x", "x" * 9000,
        ]  # fmt: skip
        async with forwarding(targets) as base:
            store = base.removeprefix("http://").removesuffix("/f").split(":")
            with watch.listening(), monkeypatch.context() as patch:
                patch.setattr(Asset, "BASE", base)
                for number in range(len(targets)):
                    told = await attach(room, number, url=f"{base}/{number}")
                    assert REFUSED in told
            here = {("127.0.0.1", room.pg.port), (store[0], int(store[1]))}
            assert (store[0], int(store[1])) in watch.connected <= here
        assert not asked


async def test_a_name_that_is_made_to_lead_inside_leads_nowhere(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    wanted: list[str] = []
    answers = cycle([*([each] for each in REBOUND), ["8.8.8.8", "127.0.0.1"]])

    async def rebound(_self: object, host: str, port: int = 0, _family: int = 0) -> list[Any]:
        wanted.append(host)
        return [
            {"hostname": host, "host": each, "port": port, "proto": 0, "flags": 0,
             "family": socket.AF_INET6 if ":" in each else socket.AF_INET}
            for each in next(answers)
        ]  # fmt: skip

    monkeypatch.setattr(DefaultResolver, "resolve", rebound)
    async with open_room(tmp_path) as room, room.bot():
        # Discord's own name, in whose place the playground's stands otherwise.
        with watch.listening(), monkeypatch.context() as patch:
            patch.setattr(Asset, "BASE", REAL)
            for number in range(len(REBOUND) + 1):
                host = (REAL, "https://media.discordapp.net")[number % 2]
                told = await attach(room, number, url=f"{host}/attachments/1/2/x.png")
                assert REFUSED in told
        assert watch.connected <= {("127.0.0.1", room.pg.port)}
    assert set(wanted) >= {"cdn.discordapp.com", "media.discordapp.net"}
    assert len(wanted) >= len(REBOUND)


def test_files_are_fetched_in_one_place_only() -> None:
    root = Path(enclosed.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "playground" in path.parts or path.name == "enclosed.py":
            continue
        for way in (
            "ClientSession(",
            "urlopen",
            ".to_file(",
            "attachment.read(",
            "attachment.save(",
        ):
            assert way not in text, f"{path.name} has {way}"
