"""Health over HTTP and words to systemd: the real bot at a playground, and real sockets."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import discord
import pytest

from bot import health, liveness
from bot.app import App
from bot.health import LagMeter, Metrics
from bot.liveness import AWAY, Health, Liveness, Notifier
from tests.bot_desk import settings
from tests.bot_room import QUICK, Room, open_room

STALL = 0.3


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as room:
        yield room


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, page: str = "/healthz") -> tuple[int, dict[str, object]]:
    """Look at a page, with a client that knows nothing of the event loop."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else {}


async def ask_until(port: int, wanted: Callable[[int, dict[str, object]], object]) -> None:
    """Ask until an answer is as wanted."""
    async with asyncio.timeout(8):
        while not wanted(*await asyncio.to_thread(ask, port)):  # noqa: ASYNC110 - a page is asked
            await asyncio.sleep(0.05)


def quiet(alive: Callable[[], bool] = lambda: True) -> Liveness:
    """Return the liveness of a bot that never connected."""
    client = discord.Client(intents=discord.Intents.none())
    meter = LagMeter(warn_seconds=10)
    config = settings("[storage]\nmin_free_gib = 0\n")
    notify = Notifier({})
    return Liveness(client=client, meter=meter, settings=lambda: config, alive=alive, notify=notify)


async def test_a_running_bot_is_healthy_until_discord_is_away(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "BEAT", 0.02)
    port = free_port()
    async with room.bot(f"{QUICK}[monitoring]\nport = {port}\n"):
        await room.grid()
        await ask_until(port, lambda _, found: found["gateway"]["connected"])  # type: ignore[index]
        status, found = await asyncio.to_thread(ask, port)
        assert status == 200, found
        assert found["healthy"] is True
        assert found["wrong"] == []
        assert found["engine"] == {"alive": True}
        assert set(found) == {"healthy", "wrong", "loop", "gateway", "engine", "disk"}

        with monkeypatch.context() as shorter:
            shorter.setattr(liveness, "AWAY", 0.05)
            room.pg.faults.refuse_connects(10**6)
            room.pg.faults.close_gateway(1006)
            await ask_until(port, lambda status, _: status == 503)
            _, found = await asyncio.to_thread(ask, port)
            assert "Discord has been away" in str(found["wrong"])
            assert found["gateway"]["connected"] is False  # type: ignore[index]
            room.pg.faults.clear()
            await ask_until(port, lambda status, _: status == 200)


async def test_a_loop_that_hangs_is_told_by_another_thread(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "BEAT", 0.02)
    monkeypatch.setattr(liveness, "STALLED", STALL)
    port = free_port()
    async with room.bot(f"{QUICK}[monitoring]\nport = {port}\n"):
        await ask_until(port, lambda status, _: status == 200)
        asking = asyncio.get_running_loop().run_in_executor(None, _hung, port)
        time.sleep(STALL * 3)  # noqa: ASYNC251 - this is the fault that is to be seen
        assert "the event loop has hung" in str((await asking)["wrong"])
        await ask_until(port, lambda status, _: status == 200)


def _hung(port: int) -> dict[str, object]:
    end = time.monotonic() + STALL * 3
    while time.monotonic() < end:
        status, found = ask(port)
        if status == 503:
            return found
        time.sleep(0.01)
    return {"wrong": "nothing, says the page"}


def test_a_dead_engine_and_a_full_disk_are_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quiet().look().status == 200
    assert quiet(alive=lambda: False).look().wrong == ("the engine is dead",)
    monkeypatch.setattr(liveness, "free_of", lambda folder: -1.0)
    assert "jobs refused" in quiet().look().wrong[0]


def test_a_bot_that_never_connected_has_some_time() -> None:
    patient = quiet()
    patient.beat()
    assert patient.look().status == 200
    patient._since -= AWAY + 1
    assert patient.look().wrong[0].startswith("Discord has been away for 12")


def test_pages_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health._Handler, "timeout", 60.0)
    metrics = Metrics()
    port = metrics.serve(0)
    try:
        assert ask(port, "/")[0] == 404
        assert ask(port)[0] == 404, "no health where nobody looks"
    finally:
        metrics.close()
    with_health = Metrics()
    port = with_health.serve(0, lambda: Health(wrong=("x",), facts={"y": 1}))
    try:
        assert ask(port) == (503, {"healthy": False, "wrong": ["x"], "y": 1})
        # A client that says nothing keeps nobody waiting.
        with socket.create_connection(("127.0.0.1", port)):
            assert ask(port)[0] == 503
    finally:
        with_health.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Listen as systemd does; the address is as it stands in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name if request.param == "path" else f"\0{name}")
        listener.setblocking(False)
        yield listener, name if request.param == "path" else f"@{name}"


def heard(listener: socket.socket) -> list[str]:
    """Return every message that came."""
    found = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_systemd_hears_of_start_beats_and_stop(
    room: Room, systemd: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, address = systemd
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(liveness, "BEAT", 0.02)
    words: list[str] = []
    async with room.bot() as app:
        assert isinstance(app, App)
        async with asyncio.timeout(5):
            loop = asyncio.get_running_loop()
            while not any("connected to Discord" in word for word in words):
                words.append((await loop.sock_recv(listener, 4096)).decode())
    words += heard(listener)
    assert words[0] == "READY=1\nSTATUS=connecting to Discord"
    assert all(word.startswith("WATCHDOG=1\nSTATUS=") for word in words[1:-1])
    assert words[-1] == "STOPPING=1\nSTATUS=stopping"


def test_systemd_that_does_not_listen_is_no_trouble(tmp_path: Path) -> None:
    Notifier({})(READY="1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})(READY="1")


def test_nothing_can_be_slipped_into_a_word(systemd: tuple[socket.socket, str]) -> None:
    listener, address = systemd
    Notifier({"NOTIFY_SOCKET": address})(STATUS="a\nMAINPID=1")
    assert heard(listener) == ["STATUS=a MAINPID=1"]


def test_a_full_queue_does_not_block(systemd: tuple[socket.socket, str]) -> None:
    listener, address = systemd
    notify = Notifier({"NOTIFY_SOCKET": address})
    for _ in range(5000):
        notify(WATCHDOG="1")
    assert 0 < len(heard(listener)) < 5000
