"""Text at its edges and in the wrong places: limits to the sign, SQL, and what reaches a log."""

import ast
import io
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.cards import custom_id
from bot.config import parse_config
from bot.logs import JsonFormatter, PlainFormatter, configure
from bot.permissions import Action
from bot.playground import InteractionState
from bot.secrets import Redactor
from bot.shortcuts import MAX_TEXT
from storage import new_job_id
from tests.bot_room import QUICK, Room, open_room
from tests.hostile import prompts

ROOT = Path(__file__).parent.parent
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


async def answer(room: Room, command: str, options: dict[str, str]) -> str:
    """Use a command and return what is answered."""
    ix = await room.pg.slash("alice", command, options)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return (await room.shown(ix, lambda message: not message.loading)).content


async def test_a_prompt_may_be_as_long_as_it_may_be(room: Room) -> None:
    async with room.bot(QUICK + "[limits]\nmax_prompt = 300\n") as app:
        for sign in ("x", "猫", "🦊", "e\u0301", "👩\u200d🚀"):
            units = len(sign.encode("utf-16-le")) // 2
            for length, fits in ((299, True), (300, True), (301, False)):
                text = sign * (length // units)
                text += "y" * (length - len(text.encode("utf-16-le")) // 2)
                told = await answer(room, "imagine", {"prompt": text})
                assert ("position" in told) is fits, (length, told)
                if not fits:
                    assert "301" in told
                    assert "300" in told
            # What is accepted is kept whole: nothing is cut in silence.
            for job in await app.services.store.history(limit=2):
                assert len(job.prompt.encode("utf-16-le")) // 2 in (299, 300)
            await room.settled(app)


async def test_a_shortcut_may_be_as_long_as_it_may_be(room: Room) -> None:
    async with room.bot() as app:
        user = room.pg.people["alice"].id
        for length, fits in ((MAX_TEXT - 1, True), (MAX_TEXT, True), (MAX_TEXT + 1, False)):
            options = {"name": f"s{length}", "value": "x" * length}
            told = await answer(room, "prefer option set", options)
            kept = await app.services.store.people.macros(user)
            assert (f"s{length}" in kept) is fits, told
            if fits:
                assert kept[f"s{length}"] == "x" * length
        for length, fits in ((31, True), (32, True), (33, False)):
            await answer(room, "prefer option set", {"name": "n" * length, "value": "x"})
            assert ("n" * length in await app.services.store.people.macros(user)) is fits


def test_what_buttons_carry_fits() -> None:
    for action in Action:
        assert len(custom_id(action, new_job_id(), 2**64)) <= 100


def test_no_statement_is_put_together_from_text() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "S608,S102,S307"]
    for rooms, more in ((["bot", "diffusion"], ["--ignore-noqa"]), (["storage"], [])):
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, *more, *rooms], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def calls(path: Path) -> Iterator[ast.Call]:
    """Yield every call of a logger in a file."""
    text = path.read_text(encoding="utf-8")
    # Most files have no logger: they need not be understood.
    for node in ast.walk(ast.parse(text if "getLogger" in text else "")):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and ast.unparse(node.func.value).split(".")[-1] in ("log", "logger", "_log")
        ):
            yield node


def test_no_text_of_a_person_is_a_format_of_a_log_line() -> None:
    found = 0
    for room in ("bot", "storage", "diffusion"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for call in calls(path):
                words = call.args[1 if call.func.attr == "log" else 0]  # type: ignore[attr-defined]
                constant = isinstance(words, ast.Constant) and isinstance(words.value, str)
                assert constant, f"{path.name}:{call.lineno}"
                found += 1
    assert found > 60


@pytest.mark.parametrize("style", ["plain", "json"])
def test_hostile_text_forges_no_line(style: str) -> None:
    stream = io.StringIO()
    handler = configure(level="debug", style=style, stream=stream, redactor=Redactor())
    logger, count = logging.getLogger("bot.hostile"), 0
    for prompt in prompts(300):
        words = prompt.encode("utf-8", "replace").decode()
        logger.info("prompt %s", words)
        logger.warning("prompt %r", words, extra={"words": words, words[:40] or "x": 1})
        count += 2
    logging.getLogger().removeHandler(handler)
    # `splitlines` knows every sign that some viewer takes for the end of a line.
    lines = stream.getvalue().splitlines()
    assert len(lines) == count
    assert not [line for line in lines if "\x1b" in line or "\u202e" in line]
    if style == "json":
        for line in lines:
            assert json.loads(line)["logger"] == "bot.hostile"
    assert isinstance(handler.formatter, JsonFormatter if style == "json" else PlainFormatter)


def test_no_word_but_ours_is_special(room_config: str = QUICK) -> None:
    """A prompt's first word starts nothing: no script, no import, no setting."""
    from bot.imagine import params_of
    from bot.loading import describe_models

    config = parse_config(room_config, Path("/nowhere/config.toml"))
    models = describe_models(config)
    for word in ("py:", "python:", "!", "/", "eval", "exec", "import os;", "${x}", "@import", "%"):
        (params,) = params_of(f"{word} print(1) --seed 1", config, models)
        assert params.prompt == f"{word} print(1)"
