"""The bot's token: where it comes from, what it looks like, and that it is never written anywhere.

Promises that no error, log line or text made from here holds a token. The token comes from the
environment or from a file named in the configuration; it is never accepted inside config.toml.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

TOKEN_VARIABLE: Final = "DISCORD_TOKEN"  # noqa: S105 - the variable's name, not a token
REDACTED: Final = "[secret]"

_MAX_TOKEN_FILE: Final = 4096
# Three parts of URL-safe base64: the bot's id, a time, a signature. The look-behind keeps the
# search linear, as a part can only begin where no part is running.
_TOKEN: Final = re.compile(
    r"(?<![\w-])[A-Za-z0-9_-]{18,}={0,2}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{20,}", re.ASCII
)
# Interactions and webhooks carry a key of their own in the path of the request.
_ROUTE_KEY: Final = re.compile(r"(/(?:webhooks|interactions)/\d+/)[\w.-]{16,}", re.ASCII)
_INTERACTION_KEY: Final = re.compile(r"(?<![\w-])aW50ZXJhY3Rpb2[\w-]{16,}", re.ASCII)
_AUTHORIZATION: Final = re.compile(
    r"(?i)(authorization\\*['\"]?\s*[:=]\s*\\*['\"]?(?:bot|bearer)\s+)[^\s'\"\\,;}]+"
)


class TokenError(Exception):
    """There is no usable token; the text says what to do and never holds a token."""


def find_token(environment: Mapping[str, str], token_file: Path | None = None) -> str:
    """Return the token from the environment or, without one there, from the file."""
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if token:
        return token
    if token_file is None:
        raise TokenError(
            f"There is no Discord token. Put it into the environment variable {TOKEN_VARIABLE}, "
            "or into a file and name that file as token_file under [discord] in config.toml. "
            "The token is on your application's Bot page at discord.com/developers."
        )
    credentials = environment.get("CREDENTIALS_DIRECTORY", "")
    return _read_token_file(token_file, given=token_file.parent == Path(credentials or "/nowhere"))


def _read_token_file(path: Path, *, given: bool) -> str:
    """Read a token from a file; `given` tells that systemd laid it there for this service alone."""
    if path.exists() and not path.is_file():
        raise TokenError(f"The token file {path} is not a file.")
    try:
        # What systemd lets its service's user alone read looks as if the file's group could, too.
        if path.stat().st_mode & (0o007 if given else 0o077):
            raise TokenError(
                f"The token file {path} can be read by other people of this machine. "
                f"Take that away with: chmod 600 {path}"
            )
        with path.open("rb") as file:
            token = file.read(_MAX_TOKEN_FILE).decode("utf-8").strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TokenError(f"The token file {path} cannot be read: {reason}.") from error
    except UnicodeDecodeError:
        # The bytes are in that error, so it is not chained.
        raise TokenError(f"The token file {path} is not a text file.") from None
    if not token:
        raise TokenError(f"The token file {path} is empty.")
    return token


def token_problem(token: str) -> str | None:
    """Say what is wrong with a token's shape, or None; the sentence never quotes it."""
    if token.casefold().startswith(("bot ", "bearer ")):
        return "The token begins with a word such as “Bot”: leave that word out."
    if any(sign.isspace() for sign in token):
        return "The token has a space or line break in it: copy it again, in one piece."
    if not _TOKEN.fullmatch(token):
        return (
            "This does not look like a Discord bot token, which is three parts with dots between "
            "them. Copy it from the Bot page; the application id and the client secret are others."
        )
    return None


def find_token_shape(text: str) -> int | None:
    """Return where in a text something shaped like a token begins, or None."""
    found = _TOKEN.search(text)
    return None if found is None else found.start()


class Redactor:
    """Takes secrets out of texts: those it was told, and whatever is shaped like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Remember the secrets to hide beside everything token-shaped."""
        told = {secret for secret in secrets if secret}
        # A log line may cut a token; its signature alone is still the secret part of it.
        told |= {part for secret in told for part in secret.split(".")[2:] if len(part) >= 16}
        # Longest first, so that no secret is cut by another that is part of it.
        ordered = sorted(told, key=len, reverse=True)
        self._told = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """Return the text with every secret replaced."""
        if self._told is not None:
            text = self._told.sub(REDACTED, text)
        text = _AUTHORIZATION.sub(rf"\1{REDACTED}", text)
        text = _TOKEN.sub(REDACTED, text)
        text = _ROUTE_KEY.sub(rf"\1{REDACTED}", text)
        return _INTERACTION_KEY.sub(REDACTED, text)


class RedactionFilter(logging.Filter):
    """A filter for handlers that redacts message, traceback and stack of every record."""

    def __init__(self, redactor: Redactor) -> None:
        """Use this redactor."""
        super().__init__()
        self._redactor = redactor
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and let it pass."""
        record.msg, record.args = self._redactor(_message(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor(record.exc_text)
            # Handlers further on would otherwise format the exception anew, secrets and all.
            record.exc_info = None
        if record.stack_info:
            record.stack_info = self._redactor(record.stack_info)
        return True


def _message(record: logging.LogRecord) -> str:
    """Return the record's text, even when its arguments do not fit its format."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg!s} {record.args!r}"
