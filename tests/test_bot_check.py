"""`easel check`: every fault is found, not only the first, and nothing is changed."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from typer.testing import CliRunner

from bot.__main__ import app
from bot.applied import keep_applied
from bot.check import Finding, check
from bot.config import load_config
from storage import Store
from storage.lock import InstanceLock
from tests.test_storage_support import new_job
from tests.tiny import tiny_folder

# In the shape of a token, and nobody's.
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB"  # noqa: S105


def settings(folder: Path, *, model: str = "", more: str = "") -> Path:
    path = folder / "config.toml"
    text = f'[models.emoji]\npath = "{model or tiny_folder()}"\n[storage]\nmin_free_gib = 0\n{more}'
    path.write_text(text, encoding="utf-8")
    return path


async def found(path: Path, token: str | None = TOKEN) -> dict[str, Finding]:
    environment = {} if token is None else {"DISCORD_TOKEN": token}
    return {each.subject: each for each in await check(path, environment)}


async def test_everything_is_there(tmp_path: Path) -> None:
    findings = await found(settings(tmp_path))
    assert list(findings) == ["config", "token", "models", "device", "database", "backups"]
    assert all(each.good for each in findings.values()), findings
    assert "emoji" in findings["models"].text
    assert "CPU" in findings["device"].text
    assert TOKEN not in str(findings)


async def test_it_goes_on_after_a_fault(tmp_path: Path) -> None:
    findings = await found(settings(tmp_path, model="nowhere"), token=None)
    bad = [subject for subject, each in findings.items() if not each.good]
    assert bad == ["token", "models"]
    assert "DISCORD_TOKEN" in findings["token"].text
    assert "nowhere" in findings["models"].text


async def test_a_wrong_configuration_is_all_there_is_to_say(tmp_path: Path) -> None:
    path = settings(tmp_path, more="[queue]\nmax_wating = 3\n")
    findings = await found(path)
    assert list(findings) == ["config"]
    assert "line 6" in findings["config"].text
    assert "max_waiting" in findings["config"].text


async def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    findings = await found(settings(tmp_path, more='[engine]\ndevice = "cuda"\n'))
    assert not findings["device"].good
    assert "cuda" in findings["device"].text


async def test_a_database_that_is_none(tmp_path: Path) -> None:
    path = settings(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("easel.db",):
        (tmp_path / "data" / name).write_bytes(b"no database at all " * 500)
    findings = await found(path)
    assert not findings["database"].good
    assert "damaged" in findings["database"].text


async def test_a_bot_that_runs_is_no_fault_and_is_not_disturbed(tmp_path: Path) -> None:
    path = settings(tmp_path)
    async with await Store.open(tmp_path / "data") as store:
        await store.enqueue(new_job(1))
        findings = await found(path)
        await store.enqueue(new_job(2))
        assert (await store.counts()).waiting == 2
    assert all(each.good for each in findings.values()), findings
    assert f"a bot that runs (process {os.getpid()})" in findings["database"].text
    assert "1 jobs" in findings["database"].text


async def test_a_database_that_breaks_under_a_bot_that_runs(tmp_path: Path) -> None:
    path = settings(tmp_path)
    async with await Store.open(tmp_path / "data") as store:
        await store.enqueue(new_job(1))
    with closing(sqlite3.connect(tmp_path / "data" / "easel.db")) as strange, strange:
        strange.execute("UPDATE job SET params = '{}'")
    lock = InstanceLock(tmp_path / "data" / "easel.lock")
    try:
        findings = await found(path)
    finally:
        lock.release()
    assert not findings["database"].good
    assert "its checksum does not fit" in findings["database"].text


async def test_too_little_space(tmp_path: Path) -> None:
    path = settings(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("min_free_gib = 0", "min_free_gib = 99999"), encoding="utf-8")
    findings = await found(path)
    assert not findings["database"].good
    assert "min_free_gib" in findings["database"].text


def test_the_command_says_it_line_by_line_and_with_its_code(tmp_path: Path) -> None:
    path = settings(tmp_path)
    good = CliRunner().invoke(app, ["check", "--config", str(path)], env={"DISCORD_TOKEN": TOKEN})
    assert good.exit_code == 0
    assert good.stdout.count("ok  ") == 6
    bad = CliRunner().invoke(app, ["check", "--config", str(path)], env={"DISCORD_TOKEN": None})
    assert bad.exit_code == 78
    assert "FAIL token" in bad.stdout


async def test_what_the_file_would_change_is_named(tmp_path: Path) -> None:
    path = settings(tmp_path)
    text = path.read_text(encoding="utf-8")
    (tmp_path / "data").mkdir()
    keep_applied(load_config(path), text)
    assert "none since" in (await found(path))["changes"].text
    path.write_text(f"{text}[queue]\nmax_running = 7\n[engine]\nthreads = 2\n", encoding="utf-8")
    told = (await found(path))["changes"].text
    assert "[queue] max_running: 4 → 7" in told
    assert "[engine] threads: 0 → 2 (needs a restart)" in told
