"""The token: found where it belongs, refused in a wrong shape, and never written anywhere."""

import io
import json
import logging
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.secrets import (
    REDACTED,
    RedactionFilter,
    Redactor,
    TokenError,
    find_token,
    find_token_shape,
    token_problem,
)

PARTS = ("MTIzNDU2Nzg5MDEyMzQ1Njc4", "GcAnAr", "canary0123456789canary0123456789canary")
CANARY = ".".join(PARTS)


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a token file."""
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_environment_comes_first(tmp_path: Path) -> None:
    path = secret_file(tmp_path, b"other")
    assert find_token({"DISCORD_TOKEN": f" {CANARY}\n"}, path) == CANARY
    assert find_token({"DISCORD_TOKEN": " "}, path) == "other"
    assert find_token({}, secret_file(tmp_path, f"{CANARY}\n".encode())) == CANARY


def test_without_a_token_the_sentence_says_where_to_put_one() -> None:
    with pytest.raises(TokenError, match="DISCORD_TOKEN"):
        find_token({})


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (CANARY.encode(), 0o644, "chmod 600"),
        (b" \n", 0o600, "is empty"),
        (CANARY.encode() + b"\xff", 0o600, "not a text file"),
    ],
)
def test_a_token_file_that_will_not_do(
    tmp_path: Path, content: bytes, mode: int, said: str
) -> None:
    with pytest.raises(TokenError, match=said) as caught:
        find_token({}, secret_file(tmp_path, content, mode))
    assert PARTS[2] not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_credential_of_systemd_may_look_as_if_its_group_could_read_it(tmp_path: Path) -> None:
    path = secret_file(tmp_path, CANARY.encode(), 0o440)
    assert find_token({"CREDENTIALS_DIRECTORY": str(tmp_path)}, path) == CANARY
    for elsewhere in ({}, {"CREDENTIALS_DIRECTORY": ""}, {"CREDENTIALS_DIRECTORY": "/run"}):
        with pytest.raises(TokenError, match="chmod 600"):
            find_token(elsewhere, path)
    path.chmod(0o444)
    with pytest.raises(TokenError, match="chmod 600"):
        find_token({"CREDENTIALS_DIRECTORY": str(tmp_path)}, path)


def test_a_token_file_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="cannot be read: No such file"):
        find_token({}, tmp_path / "none")
    with pytest.raises(TokenError, match="is not a file"):
        find_token({}, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TokenError, match="is not a file"):
        find_token({}, tmp_path / "pipe")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (f"Bot {CANARY}", "leave that word out"),
        (f"{PARTS[0]} .{PARTS[1]}", "space or line break"),
        ("123456789012345678", "three parts"),
        (CANARY + ".x", "three parts"),
        ("", "three parts"),
    ],
)
def test_shapes_that_are_no_token(token: str, said: str) -> None:
    problem = token_problem(token)
    assert problem is not None
    assert said in problem
    assert PARTS[2] not in problem


def test_the_shape_of_a_token() -> None:
    assert token_problem(CANARY) is None
    assert find_token_shape(f"x {CANARY} y") == 2
    for text in ("diffusion.networks.attention", "3.14.15", "a.b.c", "easel-0123456789abc-1.png"):
        assert find_token_shape(text) is None


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"Authorization: Bot {CANARY}",
        f"{{'Authorization': 'Bot {PARTS[2]}'}}",
        f"wss://gateway/?token={CANARY}&v=10",
        f"cut off: {PARTS[2]}",
        f"https://discord.com/api/v10/webhooks/123/{PARTS[2]}/messages/@original",
        f"POST /interactions/456/{PARTS[2]}/callback",
        f"{CANARY}{CANARY}",
        json.dumps({"token": CANARY}),
        repr(CANARY.encode()),
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    shown = Redactor([CANARY])(text)
    assert REDACTED in shown
    assert PARTS[2] not in shown


def test_a_secret_of_any_shape_is_taken_out_when_told() -> None:
    assert Redactor(["p4ss"])("the p4ss word") == f"the {REDACTED} word"
    assert Redactor(["", "ab", "abc"])("abcd") == f"{REDACTED}d"
    assert Redactor()("nothing here") == "nothing here"


def test_redaction_takes_linear_time() -> None:
    text = "a" * 300_000 + "." * 1000 + "b-" * 100_000
    before = time.perf_counter()
    Redactor([CANARY])(text)
    assert time.perf_counter() - before < 1


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_token_between_any_texts_never_shows(before: str, after: str) -> None:
    assert PARTS[2] not in Redactor([CANARY])(f"{before}{CANARY}{after}")


def leaky_calls(logger: logging.Logger, source: random.Random) -> None:
    """Log the canary by one of the paths a token really takes into logs."""
    match source.randrange(7):
        case 0:
            logger.debug("token %s", CANARY)
        case 1:
            logger.info("headers %r", {"Authorization": f"Bot {CANARY}"})
        case 2:
            try:
                raise ValueError(CANARY)
            except ValueError:
                logger.exception("failed with %s", CANARY)
        case 3:
            logger.warning(f"{CANARY}")
        case 4:
            logger.error("stack", stack_info=True, extra={"url": f"/webhooks/1/{PARTS[2]}"})
        case 5:
            logger.error("%d fits not", CANARY)
        case _:
            try:
                try:
                    raise KeyError(CANARY)
                except KeyError as error:
                    raise RuntimeError(f"from {CANARY}") from error
            except RuntimeError:
                logger.critical("chained", exc_info=True)


def test_a_thousand_leaks_stay_inside() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactionFilter(Redactor([CANARY])))
    logger = logging.Logger("leaky", logging.DEBUG)
    logger.addHandler(handler)
    source = random.Random(3)  # noqa: S311 - a fixed order of leaks
    for _ in range(1000):
        leaky_calls(logger, source)
    assert stream.getvalue().count(REDACTED) >= 800
    assert "Traceback" in stream.getvalue()
    assert PARTS[2] not in stream.getvalue()
    assert PARTS[0] not in stream.getvalue()
