"""What Discord refuses in a message, an embed or an attachment list.

Promises "Invalid Form Body" with the tree of what is wrong where, as the real API words it.
Never changes what it looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.playground.cdn import Upload
from bot.playground.components import check_components
from bot.playground.errors import Problems, Refusal
from bot.playground.ledger import EPHEMERAL, SUPPRESS_EMBEDS
from bot.playground.wire import Json

CONTENT_LIMIT = 2000
NONCE_LIMIT = 25
FILES_LIMIT = 10
REQUEST_SIZE_LIMIT = 25 * 1024 * 1024
EMBEDS_LIMIT = 10
EMBED_TOTAL_LIMIT = 6000
DESCRIPTION_LIMIT = 1024
SUPPRESS_NOTIFICATIONS = 1 << 12
COMPONENTS_V2 = 1 << 15
SETTABLE_FLAGS = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2 | EPHEMERAL


def check_sizes(files: Sequence[Upload], most: int) -> None:
    """Raise for a file above the limit."""
    if any(len(upload.data) > most for upload in files):
        raise Refusal.TOO_LARGE.error()


def check_message(payload: Json, files: Sequence[Upload], *, v2: bool, prefix: str = "") -> None:
    """Raise for a message or an edit that is malformed; emptiness is another check."""
    problems = Problems()
    content = payload.get("content")
    if content is not None and not isinstance(content, str):
        problems.add(f"{prefix}content", "BASE_TYPE_STRING", "Could not interpret as string.")
    problems.too_long(f"{prefix}content", content, CONTENT_LIMIT)
    check_nonce(problems, payload, prefix)
    check_embeds(problems, payload.get("embeds") or [], prefix)
    check_attachments(problems, payload, files, prefix)
    check_mentions(problems, payload.get("allowed_mentions"), prefix)
    if v2 and (content or payload.get("embeds")):
        field = "content" if content else "embeds"
        code = "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"
        problems.add(
            f"{prefix}{field}",
            code,
            f"The '{field}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )
    check_components(problems, payload.get("components") or [], f"{prefix}components", v2=v2)
    problems.check()


def check_nonce(problems: Problems, payload: Json, prefix: str) -> None:
    """Note a nonce that is too long."""
    nonce = payload.get("nonce")
    if nonce is not None and len(str(nonce)) > NONCE_LIMIT:
        message = f"Must be {NONCE_LIMIT} or fewer in length."
        problems.add(f"{prefix}nonce", "NONCE_TYPE_TOO_LONG", message)


def check_embeds(problems: Problems, embeds: list[Json], prefix: str) -> None:
    """Note embeds over their limits, each and together."""
    problems.too_many(f"{prefix}embeds", embeds, EMBEDS_LIMIT)
    total = 0
    for index, embed in enumerate(embeds):
        path = f"{prefix}embeds.{index}"
        fields = embed.get("fields") or []
        texts: list[tuple[str, Any, int]] = [
            (f"{path}.title", embed.get("title"), 256),
            (f"{path}.description", embed.get("description"), 4096),
            (f"{path}.footer.text", (embed.get("footer") or {}).get("text"), 2048),
            (f"{path}.author.name", (embed.get("author") or {}).get("name"), 256),
        ]
        for number, field in enumerate(fields):
            texts.append((f"{path}.fields.{number}.name", field.get("name"), 256))
            texts.append((f"{path}.fields.{number}.value", field.get("value"), 1024))
            for part in ("name", "value"):
                if not field.get(part):
                    where = f"{path}.fields.{number}.{part}"
                    problems.add(where, "BASE_TYPE_REQUIRED", "This field is required")
        problems.too_many(f"{path}.fields", fields, 25)
        for where, text, limit in texts:
            problems.too_long(where, text, limit)
            total += len(text or "")
    if total > EMBED_TOTAL_LIMIT:
        message = f"Embed size exceeds maximum size of {EMBED_TOTAL_LIMIT}"
        problems.add(f"{prefix}embeds", "MAX_EMBED_SIZE_EXCEEDED", message)


def check_attachments(
    problems: Problems, payload: Json, files: Sequence[Upload], prefix: str
) -> None:
    """Note too many files and entries of `attachments` that are malformed."""
    path = f"{prefix}attachments"
    listed = payload.get("attachments") or []
    if len(files) > FILES_LIMIT:
        problems.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {FILES_LIMIT} or fewer in length.")
    problems.too_many(path, listed, FILES_LIMIT)
    for index, item in enumerate(listed):
        if "id" not in item:
            problems.add(f"{path}.{index}.id", "BASE_TYPE_REQUIRED", "This field is required")
        where = f"{path}.{index}.description"
        problems.too_long(where, item.get("description"), DESCRIPTION_LIMIT)


def check_mentions(problems: Problems, allowed: Json | None, prefix: str) -> None:
    """Note an `allowed_mentions` that says two things at once."""
    if not allowed:
        return
    parse = allowed.get("parse") or []
    for kind in ("users", "roles"):
        listed = allowed.get(kind) or []
        problems.too_many(f"{prefix}allowed_mentions.{kind}", listed, 100)
        if kind in parse and listed:
            message = f"parse:[{kind!r}] and {kind}: [ids...] are mutually exclusive."
            code = "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"
            problems.add(f"{prefix}allowed_mentions", code, message)


def is_empty(data: Json, files: Sequence[Json]) -> bool:
    """Tell whether a message would show nothing at all."""
    return not (data["content"] or data["embeds"] or data["components"] or files)
