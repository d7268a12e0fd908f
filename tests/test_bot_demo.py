"""`easel demo`: one command, one address, a bot behind it; and the port is free afterwards."""

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from bot import serving
from bot.demo import run_demo
from bot.exits import Exit
from bot.playground import Playground
from tests.fakes import FakeEngine, model_info

ROOT = Path(__file__).parent.parent


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine()
    monkeypatch.setattr(serving, "load_engine", lambda config: engine)
    monkeypatch.setattr(serving, "describe_models", lambda config: {"emoji": model_info()})
    return engine


async def status_of(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_it_announces_a_page_and_ends_on_a_signal(
    fake_engine: FakeEngine, tmp_path: Path
) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(run_demo(port=0, folder=tmp_path, announce=told.put_nowait))
    async with asyncio.timeout(8):
        url = await told.get()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{16,}/", url)
        status, page = await status_of(url)
        assert status == 200
        assert "<html" in page
        without_key = url.rsplit("/", 2)[0] + "/"
        assert (await status_of(without_key))[0] == 404
        os.kill(os.getpid(), signal.SIGINT)
        await task
    port = int(url.split(":")[2].split("/")[0])
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


async def test_a_port_in_use(fake_engine: FakeEngine, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(Exit, match="--port") as caught:
            await run_demo(port=holder.getsockname()[1], folder=tmp_path, announce=lambda url: None)
    assert caught.value.code == 78


async def test_a_port_that_is_not_this_users(
    fake_engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(playground: Playground) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Playground, "start", refuse)
    with pytest.raises(Exit, match="may not be opened by this user") as caught:
        await run_demo(port=80, folder=tmp_path, announce=lambda url: None)
    assert caught.value.code == 78


async def test_a_folder_that_is_a_file(fake_engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(Exit, match="file") as caught:
        await run_demo(port=0, folder=file, announce=lambda url: None)
    assert caught.value.code == 78


@pytest.mark.slow
async def test_the_command_with_the_shipped_model(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "demo",
        "--port",
        "0",
        "--data",
        str(tmp_path / "data"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(50):
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", line)
        assert found, line
        assert (await status_of(found[0]))[0] == 200
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
