"""The life of an interaction: dispatched, acknowledged within 3 s, its token good for 15 min.

Promises Discord's deadlines and the order of its state machine: one callback, then followups
and edits of the original. Never decides what people may press; `actions` does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from bot.playground.cdn import Upload
from bot.playground.errors import Problems, Refusal
from bot.playground.guilds import Channel, Guild
from bot.playground.ledger import (
    EPHEMERAL,
    InteractionState,
    MessageRecord,
    PlayInteraction,
    Transition,
)
from bot.playground.messages import Messages
from bot.playground.modals import check_modal
from bot.playground.people import Person
from bot.playground.rendering import Draft, as_seen
from bot.playground.wire import Json, Timer
from bot.playground.world import World

ACKNOWLEDGE_WITHIN = 3.0
TOKEN_LIFE = 15 * 60.0
NO_ANSWER = "The application did not respond"

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, OPEN_MODAL = 4, 5, 6, 7, 8, 9


class Interactions:
    """Starts interactions for people and takes the bot's answers to them."""

    def __init__(self, world: World, messages: Messages) -> None:
        self._world = world
        self._messages = messages
        self._by_token: dict[str, PlayInteraction] = {}
        self._timers: dict[int, Timer] = {}

    def start(
        self,
        kind: int,
        person: Person,
        channel: Channel,
        data: Json,
        *,
        source: MessageRecord | None = None,
        nonce: str | None = None,
    ) -> PlayInteraction:
        """Dispatch an interaction as Discord does and start its 3 seconds."""
        now = self._world.clock.now()
        interaction_id = self._world.ids.next()
        token = secrets.token_urlsafe(96)
        interaction = PlayInteraction(
            id=interaction_id,
            token=token,
            type=kind,
            user_id=person.id,
            channel_id=channel.id,
            payload=self._payload(interaction_id, token, kind, person, channel, data, source),
            created_at=now,
            acknowledged=asyncio.get_running_loop().create_future(),
            nonce=nonce,
            source_message_id=None if source is None else source.id,
        )
        interaction.history.append(Transition(at=now, what="dispatched"))
        self._by_token[token] = interaction
        self._world.ledger.interactions[interaction_id] = interaction
        self._timers[interaction_id] = self._world.clock.call_later(
            ACKNOWLEDGE_WITHIN, lambda: self._expire(interaction)
        )
        self._world.tell(lambda observer: observer.interaction_created(interaction))
        return interaction

    def close(self) -> None:
        """Stop every running deadline."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def respond(
        self, interaction_id: int, token: str, body: Json, files: Sequence[Upload]
    ) -> PlayInteraction:
        """Take the bot's callback: the one answer that an interaction may have."""
        interaction = self._by_token.get(token)
        if interaction is None or interaction.id != interaction_id:
            raise Refusal.UNKNOWN_INTERACTION.error()
        if interaction.response is not None:
            raise Refusal.ALREADY_ACKNOWLEDGED.error()
        if interaction.state is InteractionState.FAILED:
            raise Refusal.UNKNOWN_INTERACTION.error()
        check_callback(interaction, body)
        interaction.response = body
        try:
            await self._apply(interaction, int(body["type"]), body.get("data") or {}, files)
        except BaseException:
            interaction.response = None
            raise
        self._settle(interaction, InteractionState.ACKNOWLEDGED, f"callback {body['type']}")
        return interaction

    async def follow_up(self, token: str, payload: Json, files: Sequence[Upload]) -> MessageRecord:
        """Post another message; the first after a deferral fills the one that is loading."""
        interaction = self.by_token(token)
        original = self._world.ledger.messages.get(interaction.message_id or 0)
        waits = original is not None and original.loading and original.deleted_at is None
        if interaction.response_type == DEFERRED and original is not None and waits:
            await self._messages.edit(original, payload, files)
            self._note(interaction, "original filled by followup")
            return original
        draft = Draft(
            channel=self._world.channel(interaction.channel_id),
            author=self._world.bot,
            payload=payload,
            files=files,
            interaction=interaction,
        )
        record = await self._messages.create(draft)
        interaction.followups.append(record.id)
        self._note(interaction, f"followup {record.id}")
        return record

    async def edit(
        self, token: str, which: str, payload: Json, files: Sequence[Upload]
    ) -> MessageRecord:
        """Edit a message of an interaction: `@original` or one by its id."""
        record = self.message(token, which)
        await self._messages.edit(record, payload, files)
        self._note(self.by_token(token), f"edited {which}")
        return record

    def delete(self, token: str, which: str) -> None:
        """Delete a message of an interaction."""
        self._messages.delete(self.message(token, which))
        self._note(self.by_token(token), f"deleted {which}")

    def message(self, token: str, which: str) -> MessageRecord:
        """Find a message that an interaction's token gives access to."""
        interaction = self.by_token(token)
        own = [interaction.message_id, *interaction.followups]
        wanted = interaction.message_id if which == "@original" else int(which)
        record = self._world.ledger.messages.get(wanted or 0)
        if record is None or record.deleted_at is not None or wanted not in own:
            raise Refusal.UNKNOWN_MESSAGE.error()
        return record

    def by_token(self, token: str) -> PlayInteraction:
        """Find an acknowledged interaction whose token is still good."""
        interaction = self._by_token.get(token)
        if interaction is None:
            raise Refusal.UNKNOWN_WEBHOOK.error()
        if self._world.clock.now() - interaction.created_at > TOKEN_LIFE:
            raise Refusal.INVALID_TOKEN.error()
        if interaction.state is not InteractionState.ACKNOWLEDGED:
            raise Refusal.UNKNOWN_WEBHOOK.error()
        return interaction

    def callback_json(self, interaction: PlayInteraction) -> Json:
        """Return what the callback answers with `with_response`."""
        kind = interaction.response_type
        about: Json = {
            "id": str(interaction.id),
            "type": interaction.type,
            "channel_id": str(interaction.channel_id),
        }
        if "guild_id" in interaction.payload:
            about["guild_id"] = interaction.payload["guild_id"]
        answer: Json = {"interaction": about}
        record = self._world.ledger.messages.get(interaction.message_id or 0)
        if record is not None and kind in (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE):
            about |= {
                "response_message_id": str(record.id),
                "response_message_loading": record.loading,
                "response_message_ephemeral": record.ephemeral,
            }
            if kind in (MESSAGE, UPDATE):
                answer["resource"] = {"type": kind, "message": as_seen(record.data)}
        return answer

    async def _apply(
        self, interaction: PlayInteraction, kind: int, data: Json, files: Sequence[Upload]
    ) -> None:
        if kind in (MESSAGE, DEFERRED):
            draft = Draft(
                channel=self._world.channel(interaction.channel_id),
                author=self._world.bot,
                payload=data if kind == MESSAGE else {"flags": int(data.get("flags") or 0)},
                files=files,
                interaction=interaction,
                loading=kind == DEFERRED,
            )
            record = await self._messages.create(draft, prefix="data.")
            interaction.message_id = record.id
        elif kind in (DEFERRED_UPDATE, UPDATE):
            source = self._world.ledger.messages.get(interaction.source_message_id or 0)
            if source is None or source.deleted_at is not None:
                raise Refusal.UNKNOWN_MESSAGE.error()
            if kind == UPDATE:
                await self._messages.edit(source, data, files, prefix="data.")
            interaction.message_id = source.id

    def _expire(self, interaction: PlayInteraction) -> None:
        if interaction.state is InteractionState.PENDING and interaction.response is None:
            self._settle(interaction, InteractionState.FAILED, NO_ANSWER)

    def _settle(self, interaction: PlayInteraction, state: InteractionState, what: str) -> None:
        timer = self._timers.pop(interaction.id, None)
        if timer is not None:
            timer.cancel()
        interaction.state = state
        self._note(interaction, what)
        if not interaction.acknowledged.done():
            interaction.acknowledged.set_result(state)
        self._world.tell(lambda observer: observer.interaction_changed(interaction))

    def _note(self, interaction: PlayInteraction, what: str) -> None:
        interaction.history.append(Transition(at=self._world.clock.now(), what=what))
        self._world.ledger.changed()

    def _payload(
        self,
        interaction_id: int,
        token: str,
        kind: int,
        person: Person,
        channel: Channel,
        data: Json,
        source: MessageRecord | None,
    ) -> Json:
        world = self._world
        granted = str(int(world.permissions(person, channel)))
        payload: Json = {
            "id": str(interaction_id),
            "application_id": str(world.application_id),
            "type": kind,
            "token": token,
            "version": 1,
            "data": data,
            "channel_id": str(channel.id),
            "channel": channel.to_json() | {"permissions": granted},
            "app_permissions": str(int(world.permissions(world.bot, channel))),
            "locale": person.locale,
            "entitlements": [],
            "attachment_size_limit": world.attachment_limit,
        }
        if source is not None:
            payload["message"] = as_seen(source.data)
        if channel.guild is not None:
            return payload | in_guild(channel.guild, person, granted)
        # In direct messages the bot itself takes the guild's place as what authorised it.
        return payload | {
            "user": person.to_json(),
            "context": 1,
            "authorizing_integration_owners": {"0": "0"},
        }


def in_guild(guild: Guild, person: Person, granted: str) -> Json:
    """Return what an interaction says about its guild and the member who started it."""
    return {
        "guild_id": str(guild.id),
        "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
        "guild_locale": guild.locale,
        "member": guild.member_json(person) | {"permissions": granted},
        "context": 0,
        "authorizing_integration_owners": {"0": str(guild.id)},
    }


def check_callback(interaction: PlayInteraction, body: Json) -> None:
    """Raise for a callback that this kind of interaction cannot have."""
    kind = body.get("type")
    permitted = {
        COMMAND: (MESSAGE, DEFERRED, OPEN_MODAL),
        COMPONENT: (MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, OPEN_MODAL),
        AUTOCOMPLETE: (CHOICES,),
        MODAL: (MESSAGE, DEFERRED),
    }[interaction.type]
    if interaction.type == MODAL and interaction.source_message_id is not None:
        permitted = (*permitted, DEFERRED_UPDATE, UPDATE)
    problems = Problems()
    if kind not in permitted:
        listed = ", ".join(str(item) for item in permitted)
        problems.add("type", "BASE_TYPE_CHOICES", f"Value must be one of {{{listed}}}.")
    data = body.get("data") or {}
    if kind == CHOICES:
        choices = data.get("choices") or []
        problems.too_many("data.choices", choices, 25)
        for index, choice in enumerate(choices):
            for part in ("name", "value"):
                problems.too_long(f"data.choices.{index}.{part}", choice.get(part), 100)
            if not choice.get("name"):
                where = f"data.choices.{index}.name"
                problems.add(where, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    if kind == OPEN_MODAL:
        check_modal(problems, data, "data")
    problems.check()


def is_ephemeral(payload: Json) -> bool:
    """Tell whether a payload asks to be seen by one person only."""
    return bool(int(payload.get("flags") or 0) & EPHEMERAL)
