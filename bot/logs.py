"""Logs for people (plain) or machines (one JSON object a line), without secrets in either.

Promises one line per record in JSON, that no text of a user can forge a second log line, and that
every line has gone through the redactor. Never logs by itself and never touches the root logger
before `configure` is called.
"""

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from typing import Final, TextIO

from bot.secrets import RedactionFilter, Redactor

_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# How every message names the job that it is about.
_JOB: Final = "job %s"
# What every record has; whatever else it has was given as `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Libraries whose DEBUG lines hold whole requests, and whose INFO lines are of no use to an admin.
_NOISY: Final = ("aiosqlite", "asyncio", "alembic", "sqlalchemy", "PIL", "watchfiles", "urllib3")


def configure(
    *, level: str, style: str, stream: TextIO, redactor: Redactor | None = None
) -> logging.Handler:
    """Send all logs to the stream, as "plain" lines or "json"; return the handler in use."""
    redactor = redactor or Redactor()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactionFilter(redactor))
    handler.setFormatter(JsonFormatter(redactor) if style == "json" else PlainFormatter(redactor))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, JsonFormatter | PlainFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    set_level(level)
    return handler


def set_level(level: str) -> None:
    """Change how much is logged while the program runs."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the job it is about, what was given as
    extra, traceback.
    """

    def __init__(self, redactor: Redactor) -> None:
        """Use this redactor on the finished line."""
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line of JSON."""
        line: dict[str, object] = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        job = _job(record)
        if job is not None:
            line["job"] = job
        line |= {key: value for key, value in vars(record).items() if key not in _OWN}
        trace = _traceback(record)
        if trace:
            line["traceback"] = trace
        # ASCII output, so that neither a lone surrogate nor a line separator can break a line.
        return self._redactor(json.dumps(line, default=repr))


class PlainFormatter(logging.Formatter):
    """A line for people; control signs are shown escaped, tracebacks follow indented."""

    def __init__(self, redactor: Redactor) -> None:
        """Use this redactor on the finished line."""
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line, and the traceback under it."""
        extras = "".join(
            f" {key}={value!r}" for key, value in vars(record).items() if key not in _OWN
        )
        time = _time(record).strftime("%Y-%m-%d %H:%M:%S")
        text = _printable(f"{record.getMessage()}{extras}")
        line = f"{time} {record.levelname.lower():<8} {record.name}: {text}"
        trace = _traceback(record)
        if trace:
            line += "".join(f"\n    {_printable(part)}" for part in trace.splitlines())
        return self._redactor(line)


def _job(record: logging.LogRecord) -> str | None:
    """Return the id of the job that a record is about, so that a search can ask for it.

    It is told by the code's own words, never by what they were filled with.
    """
    words = str(record.msg)
    place = words.find(_JOB)
    if place < 0 or not isinstance(record.args, tuple):
        return None
    number = words[:place].replace("%%", "").count("%")
    return str(record.args[number]) if number < len(record.args) else None


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _traceback(record: logging.LogRecord) -> str:
    parts = [record.exc_text or "", record.stack_info or ""]
    if record.exc_info and not record.exc_text:
        parts[0] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return "\n".join(part for part in parts if part)


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode("ascii"), text)
