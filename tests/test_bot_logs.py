"""Logs: one line a record, no forged lines, no secrets, in both styles."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.logs import JsonFormatter, PlainFormatter, configure, set_level
from bot.secrets import Redactor

SECRET = "s3cret-s3cret-s3cret"  # noqa: S105 - a canary


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Give the root logger, and put it back afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    levels = {name: logging.getLogger(name).level for name in ("asyncio", "PIL", "sqlalchemy")}
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


def test_plain_lines(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure(level="info", style="plain", stream=stream)
    logging.getLogger("bot.worker").info("job %s done", "abc", extra={"job": "abc"})
    logging.getLogger("bot.worker").debug("unseen")
    line = stream.getvalue()
    assert line.endswith("info     bot.worker: job abc done job='abc'\n")
    assert root.level == logging.INFO


def test_json_lines(root: logging.Logger) -> None:
    stream = io.StringIO()
    handler = configure(level="debug", style="json", stream=stream, redactor=Redactor([SECRET]))
    assert handler in root.handlers
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("bot").exception("bad %s", SECRET, extra={"thing": {1, 2}, "s": SECRET})
    record = json.loads(stream.getvalue())
    assert record["level"] == "error"
    assert record["logger"] == "bot"
    assert record["message"] == "bad [secret]"
    assert record["thing"] == "{1, 2}"
    assert "ValueError: [secret]" in record["traceback"]
    assert record["time"].endswith("+00:00")
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize(
    ("words", "found", "job"),
    [
        ("job %s: posting failed for now (%s)", ("abc", "x"), "abc"),
        ("the pictures of job %s deleted by %d", ("abc", 7), "abc"),
        ("100 %% of %d for job %s", (3, "abc"), "abc"),
        ("job of %s", ("job %s",), None),
        ("%s", ("job %s",), None),
        ("job %s", (), None),
        ("nothing", (), None),
    ],
)
def test_a_line_about_a_job_has_its_id(words: str, found: tuple[object, ...], job: object) -> None:
    record = logging.LogRecord("bot", logging.INFO, "x.py", 1, words, found, None)
    assert json.loads(JsonFormatter(Redactor()).format(record)).get("job") == job


def test_configuring_again_replaces_only_our_own_handler(root: logging.Logger) -> None:
    foreign = logging.NullHandler()
    root.addHandler(foreign)
    first = configure(level="info", style="plain", stream=io.StringIO())
    second = configure(level="info", style="json", stream=io.StringIO())
    assert first not in root.handlers
    assert second in root.handlers
    assert foreign in root.handlers


def test_the_level_changes_while_running(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure(level="warning", style="plain", stream=stream)
    logging.getLogger("x").info("quiet")
    set_level("debug")
    logging.getLogger("x").debug("loud")
    logging.getLogger("asyncio").debug("noise")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert "noise" not in stream.getvalue()
    assert root.level == logging.DEBUG


def record_of(text: str) -> logging.LogRecord:
    """Make a record with a text of a user in it."""
    return logging.LogRecord("bot", logging.INFO, "x.py", 1, "prompt %s", (text,), None)


def test_a_user_cannot_forge_a_second_line() -> None:
    forged = "x\n2026-01-01 00:00:00 error    bot: the admin's disk is full\r\u2028\x1b[31m\u202e"
    line = PlainFormatter(Redactor()).format(record_of(forged))
    assert len(line.splitlines()) == 1
    assert "\\n2026" in line
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_tracebacks_follow_indented() -> None:
    record = record_of("x")
    try:
        raise ValueError("a\nforged line")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    lines = PlainFormatter(Redactor()).format(record).splitlines()
    assert len(lines) > 3
    assert all(line.startswith("    ") for line in lines[1:])


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=100))
@settings(deadline=None)
def test_any_text_is_one_line_that_can_be_written(text: str) -> None:
    for formatter in (PlainFormatter(Redactor([SECRET])), JsonFormatter(Redactor([SECRET]))):
        line = formatter.format(record_of(f"{text} {SECRET} {text}"))
        assert len(line.splitlines()) == 1
        assert line.encode("utf-8")
        assert SECRET not in line


@given(st.text(max_size=60))
@settings(deadline=None)
def test_json_stays_json_after_redaction(text: str) -> None:
    record = record_of(f'{text} {{"Authorization": "Bot {SECRET}"}} {text}')
    told = json.loads(JsonFormatter(Redactor()).format(record))["message"]
    assert SECRET not in told
    assert told.startswith("prompt ")
