"""Making, changing and deleting messages, whoever asks: the API, an interaction, a person.

Promises one way through validation, nonce memory, files and mentions, and a record of every
version. Never asks about permissions; the routes do.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from bot.playground.cdn import Cdn, Upload
from bot.playground.errors import ApiError, Problems, Refusal
from bot.playground.ledger import (
    EPHEMERAL,
    LOADING,
    SUPPRESS_EMBEDS,
    MessageRecord,
    Version,
)
from bot.playground.rendering import Draft, Renderer
from bot.playground.validate import (
    COMPONENTS_V2,
    SETTABLE_FLAGS,
    check_message,
    check_sizes,
    is_empty,
)
from bot.playground.wire import Json, iso
from bot.playground.world import World

NONCE_MEMORY = 120.0
OLD_AFTER = 3600.0
OLD_EDITS = 3


class Messages:
    """The one place where messages come from."""

    def __init__(self, world: World, cdn: Cdn) -> None:
        self._world = world
        self._cdn = cdn
        self._render = Renderer(world)
        self._nonces: dict[tuple[int, int, str], tuple[float, int]] = {}

    async def create(self, draft: Draft, *, prefix: str = "") -> MessageRecord:
        """Make a message, or return the one that its enforced nonce already made."""
        payload = draft.payload
        flags = int(payload.get("flags") or 0)
        if draft.interaction is None:
            flags &= ~EPHEMERAL
        check_sizes(draft.files, self._world.attachment_limit)
        check_message(payload, draft.files, v2=bool(flags & COMPONENTS_V2), prefix=prefix)
        reference = self._reference(draft)
        files = await self._store(payload, draft.files, draft.channel.id, [])
        if known := self._remembered(draft):
            return known
        data = self._render.skeleton(draft)
        data |= {"flags": flags & SETTABLE_FLAGS | data["flags"]}
        quoted = reference or self._answered(draft)
        if quoted is not None:
            self._render.refer(data, quoted)
        self._render.fill(data, payload, files)
        self._render.mention(data, payload, reference)
        if is_empty(data, files) and not draft.loading:
            raise Refusal.EMPTY_MESSAGE.error()
        record = self._record(draft, data, files)
        self._world.ledger.messages[record.id] = record
        draft.channel.last_message_id = record.id
        self._world.tell(lambda observer: observer.message_created(record))
        return record

    async def edit(
        self,
        record: MessageRecord,
        payload: Json,
        uploads: Sequence[Upload] = (),
        *,
        prefix: str = "",
    ) -> None:
        """Change a message; what the payload does not name stays."""
        flags = int(record.data["flags"])
        if payload.get("flags") is not None:
            kept = flags & ~SUPPRESS_EMBEDS
            flags = kept | int(payload["flags"]) & (SUPPRESS_EMBEDS | COMPONENTS_V2)
        check_sizes(uploads, self._world.attachment_limit)
        check_message(payload, uploads, v2=bool(flags & COMPONENTS_V2), prefix=prefix)
        self._check_age(record)
        files = await self._store(payload, uploads, record.channel_id, record.files)
        if record.deleted_at is not None:
            raise Refusal.UNKNOWN_MESSAGE.error()
        data = copy.deepcopy(record.data)
        data["flags"] = flags & ~LOADING
        self._render.fill(data, payload, files)
        if "content" in payload:
            self._render.mention(data, payload, None)
        if is_empty(data, files):
            raise Refusal.EMPTY_MESSAGE.error()
        if not record.loading:
            data["edited_timestamp"] = iso(self._world.clock.now())
        self._replace(record, data, files)

    def delete(self, record: MessageRecord) -> None:
        """Delete a message."""
        record.deleted_at = self._world.clock.now()
        self._world.tell(lambda observer: observer.message_deleted(record))

    def _reference(self, draft: Draft) -> MessageRecord | None:
        reference = draft.payload.get("message_reference")
        if not reference:
            return None
        wanted = int(reference["message_id"])
        channel_id = int(reference.get("channel_id") or draft.channel.id)
        try:
            return self._world.message(channel_id, wanted)
        except ApiError:
            if reference.get("fail_if_not_exists", True):
                problems = Problems()
                code = "REPLIES_UNKNOWN_MESSAGE"
                problems.add("message_reference", code, "Unknown message")
                problems.check()
            return None

    def _answered(self, draft: Draft) -> MessageRecord | None:
        """Return what an interaction's message replies to: what was pressed, or the original."""
        interaction = draft.interaction
        if interaction is None:
            return None
        record = self._world.ledger.messages.get(
            interaction.message_id or interaction.source_message_id or 0
        )
        return record if record is not None and record.deleted_at is None else None

    def _remembered(self, draft: Draft) -> MessageRecord | None:
        nonce = draft.payload.get("nonce")
        if nonce is None or not draft.payload.get("enforce_nonce"):
            return None
        found = self._nonces.get((draft.author.id, draft.channel.id, str(nonce)))
        if found is None or self._world.clock.now() - found[0] > NONCE_MEMORY:
            return None
        return self._world.ledger.messages[found[1]]

    def _record(self, draft: Draft, data: Json, files: list[Json]) -> MessageRecord:
        now = self._world.clock.now()
        nonce = draft.payload.get("nonce")
        if nonce is not None:
            key = (draft.author.id, draft.channel.id, str(nonce))
            self._nonces[key] = (now, int(data["id"]))
        interaction = draft.interaction
        hidden = interaction is not None and bool(data["flags"] & EPHEMERAL)
        return MessageRecord(
            id=int(data["id"]),
            channel_id=draft.channel.id,
            author_id=draft.author.id,
            data=data,
            files=files,
            created_at=now,
            visible_to=interaction.user_id if interaction is not None and hidden else None,
            nonce=None if nonce is None else str(nonce),
            interaction_id=None if interaction is None else interaction.id,
            versions=[Version(at=now, data=data)],
        )

    async def _store(
        self, payload: Json, uploads: Sequence[Upload], channel_id: int, existing: list[Json]
    ) -> list[Json]:
        listed = payload.get("attachments")
        known = {item["id"]: item for item in existing}
        indexes = {upload.index for upload in uploads}
        wanted = {str(item["id"]): item for item in listed or []}
        problems = Problems()
        for number, name in enumerate(wanted):
            if name not in known and name not in indexes:
                code = "BASE_TYPE_INVALID_ATTACHMENT"
                problems.add(f"attachments.{number}", code, "Attachment not found")
        problems.check()
        kept = list(existing)
        if listed is not None:
            kept = [
                known[name] | {key: item[key] for key in ("description",) if key in item}
                for name, item in wanted.items()
                if name in known
            ]
        for upload in uploads:
            description = wanted.get(upload.index, {}).get("description")
            kept.append(await self._cdn.store(upload, channel_id, description))
        return kept

    def _check_age(self, record: MessageRecord) -> None:
        """Refuse one edit too many to a message older than an hour."""
        now = self._world.clock.now()
        if now - record.created_at <= OLD_AFTER:
            return
        recent = [item for item in record.versions if now - item.at < OLD_AFTER]
        if len(recent) >= OLD_EDITS:
            raise Refusal.TOO_MANY_OLD_EDITS.error()

    def _replace(self, record: MessageRecord, data: Json, files: list[Json]) -> None:
        record.data = data
        record.files = files
        record.versions.append(Version(at=self._world.clock.now(), data=data))
        self._world.tell(lambda observer: observer.message_updated(record))
