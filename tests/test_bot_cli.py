"""The command line: what a person reads, and the code that a supervisor gets.

Most cases run inside the tests' process; those where the process itself matters start one.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.__main__ import app
from storage.opening import open_folder

ROOT = Path(__file__).parent.parent
# In the shape of a token, and nobody's.
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB"  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str


def easel(*arguments: str, token: str | None = None) -> Ended:
    """Run a command to its end in this process, in the current folder."""
    result = CliRunner().invoke(app, arguments, env={"DISCORD_TOKEN": token, "COLUMNS": "400"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(code=result.exit_code, out=result.stdout, err=result.stderr)


async def process(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> Ended:
    """Run `python -m bot` to its end."""
    given = {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        cwd=cwd,
        env=given | {"PYTHONPATH": str(ROOT), "COLUMNS": "400"} | dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    return Ended(code=await child.wait(), out=out.decode(), err=err.decode())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def is_sentence(ended: Ended) -> bool:
    """Tell whether an end was explained without a traceback."""
    return bool(ended.err.strip()) and "Traceback" not in ended.err + ended.out


def config(folder: Path, text: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def model(folder: Path) -> Path:
    """Describe a model whose weights are not there, and a configuration that names it."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(
        '{"family": "emoji", "native_width": 64, "native_height": 64, "size_multiple": 8}',
        encoding="utf-8",
    )
    return config(folder, '[models.emoji]\npath = "model"\n')


async def test_help_lists_the_commands_without_loading_torch_or_discord(tmp_path: Path) -> None:
    ended = await process("--help", cwd=tmp_path, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0
    for command in ("run", "demo", "imagine", "check"):
        assert command in ended.out
    loaded = {line.rsplit("|", 1)[-1].strip() for line in ended.err.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"torch", "discord", "sqlalchemy"}


async def test_a_start_without_a_token_as_a_process(tmp_path: Path) -> None:
    config(tmp_path)
    ended = await process("run", cwd=tmp_path, environment={})
    assert ended.code == 78
    assert is_sentence(ended)
    assert "DISCORD_TOKEN" in ended.err


async def test_a_second_start_on_a_folder_ends_before_discord_is_loaded(tmp_path: Path) -> None:
    config(tmp_path)
    lock = open_folder(tmp_path / "data")
    given = {"DISCORD_TOKEN": TOKEN, "PYTHONPROFILEIMPORTTIME": "1"}
    ended = await process("run", cwd=tmp_path, environment=given)
    lock.release()
    assert ended.code == 78
    assert f"is in use by another Easel (process {os.getpid()})" in ended.err
    assert "Traceback" not in ended.err
    loaded = {line.rsplit("|", 1)[-1].strip() for line in ended.err.splitlines()}
    assert "pydantic" in loaded
    assert not loaded & {"torch", "discord", "sqlalchemy", "alembic", "transformers"}


@pytest.mark.parametrize("token", ["hunter2hunter2hunter2", f"Bot {TOKEN}", "a b", "." * 60])
def test_run_with_something_that_is_no_token(folder: Path, token: str) -> None:
    config(folder)
    ended = easel("run", token=token)
    assert ended.code == 78
    assert is_sentence(ended)
    assert token not in ended.err


def test_run_without_a_configuration(folder: Path) -> None:
    ended = easel("run", token=TOKEN)
    assert ended.code == 78
    assert is_sentence(ended)
    assert "config.toml" in ended.err
    assert TOKEN not in ended.err


def test_a_wrong_key_is_named_with_file_line_and_the_nearest(folder: Path) -> None:
    path = config(folder, "[queue]\nmax_waiting = 7\nmax_wating_user = 3\n")
    ended = easel("run", "--config", str(path))
    assert ended.code == 78
    assert is_sentence(ended)
    assert "config.toml, line 3" in ended.err
    assert "max_waiting_user" in ended.err


def test_a_token_in_the_configuration_is_refused_and_not_repeated(folder: Path) -> None:
    config(folder, f'[discord]\ntoken_file = "{TOKEN}"\n')
    ended = easel("run")
    assert ended.code == 78
    assert is_sentence(ended)
    assert TOKEN not in ended.err
    assert "line 2" in ended.err


def test_an_unknown_model_is_named(folder: Path) -> None:
    config(folder, '[models.emoji]\npath = "nowhere"\n')
    ended = easel("run", token=TOKEN)
    assert ended.code == 78
    assert is_sentence(ended)
    assert "[models.emoji]" in ended.err
    assert "nowhere" in ended.err


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a fox --sed 7", "--seed 7"),
        ("a fox --ar 1.85:1", "37:20"),
        ("a fox --model nobodys", "emoji"),
        ("", "prompt"),
        ("x" * 6000, "6,000"),
    ],
)
def test_imagine_shows_the_fault_of_a_prompt(folder: Path, prompt: str, told: str) -> None:
    ended = easel("imagine", prompt, "--config", str(model(folder)))
    assert ended.code == 1
    assert is_sentence(ended)
    assert told in ended.err
    assert not list(folder.glob("*.png"))


def test_imagine_with_weights_that_are_missing(folder: Path) -> None:
    ended = easel("imagine", "a fox", "--config", str(model(folder)))
    assert ended.code == 78
    assert is_sentence(ended)
    assert str(folder / "model") in ended.err


def test_demo_on_a_port_in_use(folder: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ended = easel("demo", "--port", str(port), "--data", "here")
    assert ended.code == 78
    assert is_sentence(ended)
    assert str(port) in ended.err
    assert "--port" in ended.err


def test_an_unknown_command_is_a_usage_error(folder: Path) -> None:
    ended = easel("paint")
    assert ended.code == 2
    assert "Traceback" not in ended.err
