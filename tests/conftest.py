"""What holds for every test."""

import logging
from collections.abc import Iterator

import pytest

from bot.logs import JsonFormatter, PlainFormatter


@pytest.fixture(autouse=True)
def logs_end_with_their_test() -> Iterator[None]:
    """Remove the log handlers that a test set up: their streams are closed when it ends."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before and isinstance(handler.formatter, JsonFormatter | PlainFormatter):
            root.removeHandler(handler)
    root.setLevel(level)
