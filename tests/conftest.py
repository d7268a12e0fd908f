"""What holds for every test."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

from bot.logs import JsonFormatter, PlainFormatter

# The suite says the same of the same code every time: what it makes up, and the order it runs in
# (--randomly-seed in pyproject.toml), are fixed. `make search` looks where it has not looked yet.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("steady")


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
