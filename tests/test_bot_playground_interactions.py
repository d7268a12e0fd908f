"""Deadlines and order: what a bot may still say, and when it is too late."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.playground import (
    InteractionState,
    ManualClock,
    PlayError,
    Playground,
    PlayInteraction,
    RateLimits,
)
from bot.playground.wire import Json
from tests.test_bot_playground_support import Reply, Rest, png, rest_of

PAINT = {"name": "paint", "description": "d", "type": 1}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def rest(clock: ManualClock) -> AsyncIterator[Rest]:
    limits = RateLimits(enabled=False)
    async with rest_of(Playground(clock=clock, rate_limits=limits)) as client:
        reply = await client("PUT", f"/applications/{client.pg.application_id}/commands", [PAINT])
        assert reply.status == 200
        yield client


async def answer(rest: Rest, ix: PlayInteraction, body: Json) -> Reply:
    path = f"/interactions/{ix.id}/{ix.token}/callback?with_response=1"
    return await rest("POST", path, body, token="none")  # noqa: S106


def hook(rest: Rest, ix: PlayInteraction, more: str = "") -> str:
    return f"/webhooks/{rest.pg.application_id}/{ix.token}{more}"


async def pressed(rest: Rest) -> PlayInteraction:
    button = {"type": 2, "style": 1, "label": "go", "custom_id": "go"}
    payload = {"content": "x", "components": [{"type": 1, "components": [button]}]}
    made = await rest("POST", f"/channels/{rest.pg.channel_id}/messages", payload)
    return await rest.pg.press("alice", int(made.body["id"]), "go")


async def test_three_seconds_to_acknowledge(rest: Rest, clock: ManualClock) -> None:
    early = await rest.pg.slash("alice", "paint")
    clock.advance(2.9)
    assert (await answer(rest, early, {"type": 5})).status == 200
    late = await rest.pg.slash("alice", "paint")
    clock.advance(3.0)
    assert late.state is InteractionState.FAILED
    assert await late.acknowledged is InteractionState.FAILED
    assert late.history[-1].what == "The application did not respond"
    reply = await answer(rest, late, {"type": 4, "data": {"content": "x"}})
    assert (reply.status, reply.code) == (404, 10062)
    assert (await rest("POST", hook(rest, late), {"content": "x"})).code == 10015
    clock.advance(60)
    assert early.state is InteractionState.ACKNOWLEDGED


async def test_only_one_callback(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    first = await answer(rest, ix, {"type": 4, "data": {"content": "x"}})
    assert first.body["interaction"]["response_message_id"] == str(ix.message_id)
    assert first.body["resource"]["message"]["content"] == "x"
    again = await answer(rest, ix, {"type": 4, "data": {"content": "y"}})
    assert (again.status, again.code) == (400, 40060)
    assert len(rest.pg.ledger.messages) == 1


async def test_a_refused_callback_may_be_tried_again(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    refused = await answer(rest, ix, {"type": 4, "data": {"content": "x" * 2001}})
    assert refused.body["errors"]["data"]["content"]["_errors"]
    assert ix.state is InteractionState.PENDING
    assert (await answer(rest, ix, {"type": 4, "data": {"content": "x"}})).status == 200


async def test_a_foreign_id_is_unknown(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    reply = await rest("POST", f"/interactions/1/{ix.token}/callback", {"type": 5})
    assert reply.code == 10062


async def test_without_response_the_callback_is_204(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    reply = await rest("POST", f"/interactions/{ix.id}/{ix.token}/callback", {"type": 5})
    assert (reply.status, reply.body) == (204, None)


@pytest.mark.parametrize("kind", [1, 6, 7, 8, 99])
async def test_a_command_cannot_have_every_callback(rest: Rest, kind: int) -> None:
    ix = await rest.pg.slash("alice", "paint")
    reply = await answer(rest, ix, {"type": kind, "data": {}})
    assert reply.body["errors"]["type"]["_errors"][0]["code"] == "BASE_TYPE_CHOICES"


async def test_the_token_dies_after_fifteen_minutes(rest: Rest, clock: ManualClock) -> None:
    ix = await rest.pg.slash("alice", "paint")
    await answer(rest, ix, {"type": 4, "data": {"content": "x"}})
    clock.advance(899)
    path = hook(rest, ix, "/messages/@original")
    assert (await rest("PATCH", path, {"content": "y"})).status == 200
    clock.advance(2)
    for method, where in (("PATCH", path), ("GET", path), ("POST", hook(rest, ix))):
        body = None if method == "GET" else {"content": "z"}
        reply = await rest(method, where, body)
        assert (reply.status, reply.code) == (401, 50027)
    channel = f"/channels/{rest.pg.channel_id}/messages/{ix.message_id}"
    assert (await rest("PATCH", channel, {"content": "still mine"})).status == 200


async def test_the_first_followup_fills_what_is_loading(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    await answer(rest, ix, {"type": 5, "data": {"flags": 64}})
    loading = rest.pg.ledger.messages[ix.message_id or 0]
    assert (loading.loading, loading.ephemeral) == (True, True)
    first = await rest("POST", hook(rest, ix), {"content": "one", "flags": 0})
    assert first.body["id"] == str(loading.id)
    assert (loading.loading, loading.ephemeral, loading.content) == (False, True, "one")
    second = await rest("POST", hook(rest, ix), {"content": "two"}, files=[("a.png", png())])
    assert second.body["id"] != first.body["id"]
    assert second.body["attachments"][0]["filename"] == "a.png"


async def test_after_its_thinking_was_taken_back_a_followup_has_eyes_of_its_own(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    await answer(rest, ix, {"type": 5})
    loading = rest.pg.ledger.messages[ix.message_id or 0]
    assert (await rest("DELETE", hook(rest, ix, "/messages/@original"))).status == 204
    own = await rest("POST", hook(rest, ix), {"content": "for you", "flags": 64})
    record = rest.pg.ledger.messages[int(own.body["id"])]
    assert record is not loading
    assert record.ephemeral


async def test_ephemeral_messages_exist_only_behind_the_token(rest: Rest) -> None:
    ix = await rest.pg.slash("alice", "paint")
    await answer(rest, ix, {"type": 4, "data": {"content": "x", "flags": 64}})
    channel = f"/channels/{rest.pg.channel_id}/messages"
    assert (await rest("GET", f"{channel}/{ix.message_id}")).code == 10008
    assert (await rest("GET", channel)).body == []
    assert (await rest("GET", hook(rest, ix, "/messages/@original"))).body["content"] == "x"
    rest.pg.actions.dismiss(rest.pg.people["alice"], ix.message_id or 0)
    assert (await rest("GET", hook(rest, ix, "/messages/@original"))).code == 10008


async def test_a_token_reaches_only_its_own_messages(rest: Rest) -> None:
    first, second = [await rest.pg.slash("alice", "paint") for _ in range(2)]
    for ix in (first, second):
        await answer(rest, ix, {"type": 4, "data": {"content": "x"}})
    path = hook(rest, first, f"/messages/{second.message_id}")
    assert (await rest("PATCH", path, {"content": "y"})).code == 10008
    assert (await rest("PATCH", f"/webhooks/1/{first.token}/messages/1", {})).code == 10015
    own = hook(rest, first, f"/messages/{first.message_id}")
    assert (await rest("DELETE", own)).status == 204
    assert (await rest("DELETE", own)).code == 10008


async def test_a_press_can_update_its_message_or_leave_it(rest: Rest) -> None:
    ix = await pressed(rest)
    reply = await answer(rest, ix, {"type": 7, "data": {"content": "new", "components": []}})
    assert reply.body["resource"]["message"]["content"] == "new"
    assert ix.message_id == ix.source_message_id
    quiet = await pressed(rest)
    deferred = await answer(rest, quiet, {"type": 6})
    assert "resource" not in deferred.body
    edited = await rest("PATCH", hook(rest, quiet, "/messages/@original"), {"content": "later"})
    assert edited.body["id"] == str(quiet.source_message_id)


async def test_updating_a_deleted_message_is_unknown_message(rest: Rest) -> None:
    ix = await pressed(rest)
    rest.pg.delete_message(ix.source_message_id or 0)
    reply = await answer(rest, ix, {"type": 7, "data": {"content": "x"}})
    assert (reply.status, reply.code) == (404, 10008)
    assert (await answer(rest, ix, {"type": 4, "data": {"content": "gone"}})).status == 200


async def test_a_modal_is_checked_and_filled_in(rest: Rest) -> None:
    field = {"type": 4, "style": 1, "custom_id": "f", "max_length": 5}
    label = {"type": 18, "label": "Name", "component": field}
    modal = {"title": "t" * 46, "custom_id": "m", "components": [label]}
    ix = await pressed(rest)
    refused = await answer(rest, ix, {"type": 9, "data": modal})
    assert "BASE_TYPE_MAX_LENGTH" in str(refused.body["errors"]["data"]["title"])
    await answer(rest, ix, {"type": 9, "data": modal | {"title": "Title"}})
    with pytest.raises(PlayError, match="0 to 5 characters"):
        await rest.pg.submit_modal("alice", ix, {"f": "too long"})
    with pytest.raises(PlayError, match="no field"):
        await rest.pg.submit_modal("alice", ix, {"g": "x"})
    with pytest.raises(PlayError, match="opened no modal for bob"):
        await rest.pg.submit_modal("bob", ix, {"f": "x"})
    sent = await rest.pg.submit_modal("alice", ix, {"f": "abc"})
    assert sent.payload["data"]["components"][0]["component"]["value"] == "abc"
    assert sent.payload["message"]["id"] == str(ix.source_message_id)
    assert (await answer(rest, sent, {"type": 7, "data": {"content": "ok"}})).status == 200


async def test_autocomplete_takes_25_choices(rest: Rest) -> None:
    option = {"name": "x", "description": "d", "type": 3, "autocomplete": True}
    path = f"/applications/{rest.pg.application_id}/commands"
    await rest("PUT", path, [PAINT | {"options": [option]}])
    ix = await rest.pg.autocomplete("alice", "paint", {"x": "a"}, "x")
    assert ix.payload["data"]["options"][0]["focused"] is True
    many = [{"name": str(n), "value": str(n)} for n in range(26)]
    assert (await answer(rest, ix, {"type": 8, "data": {"choices": many}})).code == 50035
    assert (await answer(rest, ix, {"type": 8, "data": {"choices": many[:25]}})).status == 200
    assert len(ix.choices) == 25


async def test_what_a_person_cannot_press(rest: Rest) -> None:
    ix = await pressed(rest)
    message_id = ix.source_message_id or 0
    with pytest.raises(PlayError, match="has no 'other'; it has go"):
        await rest.pg.press("alice", message_id, "other")
    hidden = await rest.pg.slash("alice", "paint")
    await answer(rest, hidden, {"type": 4, "data": {"content": "x", "flags": 64}})
    with pytest.raises(PlayError, match="bob sees no message"):
        await rest.pg.press("bob", hidden.message_id or 0, "go")
    button = {"type": 2, "style": 1, "label": "go", "custom_id": "go", "disabled": True}
    path = f"/channels/{rest.pg.channel_id}/messages/{message_id}"
    await rest("PATCH", path, {"components": [{"type": 1, "components": [button]}]})
    with pytest.raises(PlayError, match="is disabled"):
        await rest.pg.press("alice", message_id, "go")


async def test_a_menu_offers_its_options(rest: Rest) -> None:
    options = [{"label": word, "value": word} for word in ("red", "blue")]
    menu = {"type": 3, "custom_id": "m", "options": options, "max_values": 2}
    person = {"type": 5, "custom_id": "who"}
    components = [{"type": 1, "components": [menu]}, {"type": 1, "components": [person]}]
    made = await rest(
        "POST", f"/channels/{rest.pg.channel_id}/messages", {"components": components}
    )
    message_id = int(made.body["id"])
    ix = await rest.pg.press("alice", message_id, "m", values=["red", "blue"])
    assert ix.payload["data"]["values"] == ["red", "blue"]
    with pytest.raises(PlayError, match="does not offer"):
        await rest.pg.press("alice", message_id, "m", values=["green"])
    with pytest.raises(PlayError, match="1 to 2 values"):
        await rest.pg.press("alice", message_id, "m")
    bob = str(rest.pg.people["bob"].id)
    chosen = await rest.pg.press("alice", message_id, "who", values=[bob])
    assert chosen.payload["data"]["resolved"]["users"][bob]["username"] == "bob"
