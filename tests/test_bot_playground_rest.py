"""The HTTP API asked directly: what it refuses and how, its limits, its headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.playground import ManualClock, Permission, Playground, RateLimits
from bot.playground.wire import Json, snowflake_time
from tests.test_bot_playground_support import Rest, png, rest_of


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def rest(clock: ManualClock) -> AsyncIterator[Rest]:
    limits = RateLimits(enabled=False)
    async with rest_of(Playground(clock=clock, rate_limits=limits)) as client:
        yield client


def messages(rest: Rest) -> str:
    return f"/channels/{rest.pg.channel_id}/messages"


def button(**changes: Any) -> Json:  # noqa: ANN401
    return {"type": 2, "style": 1, "label": "U1", "custom_id": "a"} | changes


def rows(*buttons: Json) -> list[Json]:
    return [{"type": 1, "components": list(buttons)}]


async def test_a_wrong_token_is_401(rest: Rest) -> None:
    reply = await rest("GET", "/users/@me", token="wrong")  # noqa: S106
    assert (reply.status, reply.code) == (401, 0)
    assert rest.pg.ledger.invalid_requests == 1


async def test_an_unknown_route_is_a_loud_501(rest: Rest, caplog: pytest.LogCaptureFixture) -> None:
    reply = await rest("GET", f"/guilds/{rest.pg.guild_id}/audit-logs")
    assert reply.status == 501
    assert "has no route GET" in caplog.text
    assert [record.path for record in rest.pg.ledger.unknown] == [
        f"/guilds/{rest.pg.guild_id}/audit-logs"
    ]


async def test_another_version_is_unknown(rest: Rest) -> None:
    async with rest.session.get(rest.pg.api_base.replace("v10", "v8") + "/gateway") as answer:
        assert answer.status == 501


async def test_broken_json_is_refused(rest: Rest) -> None:
    headers = {"Authorization": f"Bot {rest.pg.token}", "Content-Type": "application/json"}
    url = rest.pg.api_base + messages(rest)
    async with rest.session.post(url, data=b"{", headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, 50109)


async def test_the_content_type_is_exactly_json(rest: Rest) -> None:
    reply = await rest("GET", "/users/@me")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Via"]


@pytest.mark.parametrize(
    ("payload", "path", "code"),
    [
        ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
        ({"content": "x", "nonce": "n" * 26}, "nonce", "NONCE_TYPE_TOO_LONG"),
        ({"embeds": [{"title": "t" * 257}]}, "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"description": "d" * 4000}] * 2}, "embeds", "MAX_EMBED_SIZE_EXCEEDED"),
        ({"embeds": [{"title": "t"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
        (
            {"embeds": [{"fields": [{"name": "", "value": "v"}]}]},
            "embeds.0.fields.0.name",
            "BASE_TYPE_REQUIRED",
        ),
        (
            {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
            "allowed_mentions",
            "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
        ),
        (
            {"content": "x", "attachments": [{"id": "5"}]},
            "attachments.0",
            "BASE_TYPE_INVALID_ATTACHMENT",
        ),
        (
            {"content": "x", "message_reference": {"message_id": "1"}},
            "message_reference",
            "REPLIES_UNKNOWN_MESSAGE",
        ),
        ({"components": rows() * 6}, "components", "BASE_TYPE_BAD_LENGTH"),
        ({"components": rows()}, "components.0.components", "BASE_TYPE_BAD_LENGTH"),
        ({"components": [button()]}, "components.0.type", "UNION_TYPE_CHOICES"),
        (
            {"components": rows(*(button(custom_id=str(n)) for n in range(6)))},
            "components.0.components",
            "BASE_TYPE_BAD_LENGTH",
        ),
        (
            {"components": rows(button(), button())},
            "components.0.components.1.custom_id",
            "COMPONENT_CUSTOM_ID_DUPLICATED",
        ),
        (
            {"components": rows(button(custom_id="c" * 101))},
            "components.0.components.0.custom_id",
            "BASE_TYPE_MAX_LENGTH",
        ),
        (
            {"components": rows(button(label="l" * 81))},
            "components.0.components.0.label",
            "BASE_TYPE_MAX_LENGTH",
        ),
        (
            {"components": rows(button(label=None))},
            "components.0.components.0",
            "BUTTON_COMPONENT_INVALID_LABEL",
        ),
        (
            {"components": rows(button(style=5, custom_id=None))},
            "components.0.components.0.url",
            "BASE_TYPE_REQUIRED",
        ),
        (
            {"content": "x", "flags": 1 << 15, "components": [{"type": 10, "content": "t"}]},
            "content",
            "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
        ),
    ],
)
async def test_an_invalid_form_says_where(rest: Rest, payload: Json, path: str, code: str) -> None:
    reply = await rest("POST", messages(rest), payload)
    assert (reply.status, reply.code) == (400, 50035)
    node = reply.body["errors"]
    for part in path.split("."):
        node = node[part]
    assert code in [error["code"] for error in node["_errors"]]
    assert rest.pg.ledger.messages == {}


async def test_an_empty_message_is_refused(rest: Rest) -> None:
    reply = await rest("POST", messages(rest), {"content": ""})
    assert (reply.status, reply.code) == (400, 50006)


async def test_an_enforced_nonce_is_remembered_for_two_minutes(
    rest: Rest, clock: ManualClock
) -> None:
    payload = {"content": "x", "nonce": "job", "enforce_nonce": True}
    first = await rest("POST", messages(rest), payload)
    clock.advance(119)
    again = await rest("POST", messages(rest), payload)
    assert first.body["id"] == again.body["id"]
    assert first.body["nonce"] == "job"
    clock.advance(2)
    later = await rest("POST", messages(rest), payload)
    assert later.body["id"] != first.body["id"]
    assert len(rest.pg.ledger.messages) == 2


async def test_a_nonce_that_is_not_enforced_doubles(rest: Rest) -> None:
    for _ in range(2):
        await rest("POST", messages(rest), {"content": "x", "nonce": "job"})
    assert len(rest.pg.ledger.messages) == 2


async def test_old_messages_may_be_edited_only_a_few_times(rest: Rest, clock: ManualClock) -> None:
    made = await rest("POST", messages(rest), {"content": "0"})
    path = f"{messages(rest)}/{made.body['id']}"
    for number in range(10):
        assert (await rest("PATCH", path, {"content": str(number)})).status == 200
    clock.advance(3601)
    statuses = [(await rest("PATCH", path, {"content": f"late {n}"})).status for n in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = await rest("PATCH", path, {"content": "never"})
    assert (refused.code, refused.body["retry_after"]) == (30046, 5.0)
    assert rest.pg.ledger.messages[int(made.body["id"])].content == "late 2"


async def test_suppressed_embeds_are_hidden_and_come_back(rest: Rest) -> None:
    made = await rest("POST", messages(rest), {"content": "x", "embeds": [{"title": "t"}]})
    path = f"{messages(rest)}/{made.body['id']}"
    hidden = await rest("PATCH", path, {"flags": 1 << 2})
    assert (hidden.body["embeds"], hidden.body["flags"]) == ([], 4)
    shown = await rest("PATCH", path, {"flags": 0})
    assert shown.body["embeds"][0]["title"] == "t"
    silent = await rest("POST", messages(rest), {"content": "x", "flags": 1 << 12})
    assert silent.body["flags"] == 1 << 12


async def test_somebody_elses_message_cannot_be_edited_or_deleted(rest: Rest) -> None:
    said = await rest.pg.say("alice", "hello")
    path = f"{messages(rest)}/{said.id}"
    assert (await rest("PATCH", path, {"content": "mine"})).code == 50005
    assert (await rest("DELETE", path)).code == 50013


@pytest.mark.parametrize(
    ("permission", "payload", "files"),
    [
        (Permission.SEND_MESSAGES, {"content": "x"}, None),
        (Permission.ATTACH_FILES, {"content": "x"}, [("a.png", png())]),
        (Permission.EMBED_LINKS, {"embeds": [{"title": "t"}]}, None),
    ],
)
async def test_missing_permissions_are_403(
    rest: Rest, permission: Permission, payload: Json, files: list[tuple[str, bytes]] | None
) -> None:
    rest.pg.deny(permission)
    reply = await rest("POST", messages(rest), payload, files=files)
    assert (reply.status, reply.code) == (403, 50013)
    rest.pg.deny(Permission(0))
    assert (await rest("POST", messages(rest), payload, files=files)).status == 200


async def test_a_person_may_take_no_direct_messages(rest: Rest) -> None:
    opened = await rest(
        "POST", "/users/@me/channels", {"recipient_id": str(rest.pg.people["bob"].id)}
    )
    path = f"/channels/{opened.body['id']}/messages"
    assert (await rest("POST", path, {"content": "x"})).status == 200
    rest.pg.deny(Permission.SEND_MESSAGES, channel_id=int(opened.body["id"]))
    assert (await rest("POST", path, {"content": "x"})).code == 50007


async def test_deleted_things_are_unknown(rest: Rest) -> None:
    made = await rest("POST", messages(rest), {"content": "x"})
    path = f"{messages(rest)}/{made.body['id']}"
    rest.pg.delete_message(int(made.body["id"]))
    assert (await rest("PATCH", path, {"content": "y"})).code == 10008
    rest.pg.delete_channel(rest.pg.channel_id)
    assert (await rest("POST", path.rsplit("/", 1)[0], {"content": "y"})).code == 10003
    rest.pg.kick_bot()
    assert (await rest("GET", f"/guilds/{rest.pg.guild_id}")).code == 10004
    path = f"/channels/{rest.pg.channel_id}/messages"
    assert (await rest("POST", path, {"content": "x"})).code == 50001


async def test_history_pages_both_ways(rest: Rest) -> None:
    ids = [(await rest.pg.say("alice", str(number))).id for number in range(6)]

    async def page(query: str) -> list[int]:
        reply = await rest("GET", f"{messages(rest)}?{query}")
        return [int(item["id"]) for item in reply.body]

    assert await page("limit=2") == [ids[5], ids[4]]
    assert await page(f"limit=2&before={ids[3]}") == [ids[2], ids[1]]
    assert await page(f"limit=2&after={ids[1]}") == [ids[3], ids[2]]
    assert await page(f"limit=3&around={ids[2]}") == [ids[3], ids[2], ids[1]]
    assert (await rest("GET", f"{messages(rest)}?limit=101")).code == 50035


async def test_layout_components_come_back_numbered_and_resolved(rest: Rest) -> None:
    gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]}
    section = {
        "type": 9,
        "components": [{"type": 10, "content": "text"}],
        "accessory": button(),
    }
    container = {
        "type": 17,
        "components": [gallery, {"type": 14}, section, *rows(button(custom_id="b"))],
    }
    payload = {"flags": 1 << 15, "components": [container]}
    reply = await rest("POST", messages(rest), payload, files=[("a.png", png(6, 7))])
    assert reply.status == 200
    shown = reply.body["components"][0]
    media = shown["components"][0]["items"][0]["media"]
    assert (media["width"], media["height"]) == (6, 7)
    assert media["url"].endswith("a.png")
    record = rest.pg.ledger.messages[int(reply.body["id"])]
    assert record.custom_ids == ["a", "b"]
    path = f"{messages(rest)}/{record.id}"
    kept = await rest("PATCH", path, {"components": [{"type": 10, "content": "t"}], "flags": 0})
    assert kept.body["flags"] & 1 << 15


async def test_mentions_are_only_what_is_allowed(rest: Rest) -> None:
    alice, bob = rest.pg.people["alice"].id, rest.pg.people["bob"].id
    text = f"<@{alice}> <@!{bob}> @everyone"

    async def pinged(allowed: Json | None) -> tuple[set[str], bool]:
        payload: Json = {"content": text}
        if allowed is not None:
            payload["allowed_mentions"] = allowed
        body = (await rest("POST", messages(rest), payload)).body
        return {user["username"] for user in body["mentions"]}, body["mention_everyone"]

    assert await pinged(None) == ({"alice", "bob"}, False)
    assert await pinged({"parse": []}) == (set(), False)
    assert await pinged({"parse": [], "users": [str(bob)]}) == ({"bob"}, False)


async def test_a_channel_message_is_never_ephemeral(rest: Rest) -> None:
    reply = await rest("POST", messages(rest), {"content": "x", "flags": 64})
    assert reply.body["flags"] == 0


async def test_ids_tell_their_time(rest: Rest, clock: ManualClock) -> None:
    made = await rest("POST", messages(rest), {"content": "x"})
    assert abs(snowflake_time(int(made.body["id"])) - clock.now()) < 0.01


async def test_reading_routes_answer(rest: Rest) -> None:
    guild = f"/guilds/{rest.pg.guild_id}"
    role = rest.pg.role("Moderators").id
    for path in (
        "/gateway",
        "/gateway/bot",
        "/users/@me/guilds",
        "/applications/@me",
        f"{guild}/channels",
        f"{guild}/members?limit=3",
        f"{guild}/members/{rest.pg.application_id}",
        f"{guild}/roles",
        f"{guild}/roles/{role}",
        f"/channels/{rest.pg.channel_id}",
    ):
        assert (await rest("GET", path)).status == 200, path
    assert (await rest("GET", "/users/1")).code == 10013
    assert (await rest("GET", f"{guild}/members/1")).code == 10007
    assert (await rest("GET", f"{guild}/roles/1")).code == 10011
    assert (await rest("GET", "/channels/1")).code == 10003
    bot = {"recipient_id": str(rest.pg.application_id)}
    assert (await rest("POST", "/users/@me/channels", bot)).code == 50007


async def test_buckets_count_down_and_refuse() -> None:
    async with rest_of(Playground()) as rest:
        path = messages(rest)
        replies = [await rest("POST", path, {"content": "x"}) for _ in range(6)]
        assert [int(reply.headers["X-RateLimit-Remaining"]) for reply in replies[:5]] == [
            4,
            3,
            2,
            1,
            0,
        ]
        refused = replies[5]
        assert refused.status == 429
        assert refused.headers["X-RateLimit-Scope"] == "user"
        assert 0 < refused.body["retry_after"] <= 5
        assert refused.body["global"] is False
        assert len({reply.headers["X-RateLimit-Bucket"] for reply in replies}) == 1
        gallery = rest.pg.world.guild_channels()[1].id
        elsewhere = await rest("POST", f"/channels/{gallery}/messages", {"content": "x"})
        assert elsewhere.status == 200


async def test_edits_have_a_bucket_of_their_own_in_each_channel() -> None:
    async with rest_of(Playground()) as rest:
        places = [rest.pg.channels["easel"], rest.pg.channels["gallery"]]
        paths = []
        for place in places:
            made = await rest("POST", f"/channels/{place}/messages", {"content": "x"})
            paths.append(f"/channels/{place}/messages/{made.body['id']}")
        replies = [await rest("PATCH", paths[0], {"content": str(n)}) for n in range(6)]
        assert [reply.status for reply in replies] == [200] * 5 + [429]
        counted = replies[0].headers
        assert (counted["X-RateLimit-Limit"], counted["X-RateLimit-Remaining"]) == ("5", "4")
        assert 0 < float(counted["X-RateLimit-Reset-After"]) <= 5
        assert float(counted["X-RateLimit-Reset"]) > 1_700_000_000
        elsewhere = await rest("PATCH", paths[1], {"content": "y"})
        assert elsewhere.status == 200
        assert elsewhere.headers["X-RateLimit-Bucket"] == counted["X-RateLimit-Bucket"]
        posting = await rest("POST", f"/channels/{places[0]}/messages", {"content": "z"})
        assert posting.headers["X-RateLimit-Bucket"] != counted["X-RateLimit-Bucket"]


async def test_the_global_limit_spares_interactions() -> None:
    async with rest_of(Playground()) as rest:
        replies = [await rest("GET", f"/channels/{n}") for n in range(1, 61)]
        refused = [reply for reply in replies if reply.status == 429]
        assert refused
        assert refused[0].body["global"] is True
        assert refused[0].headers["X-RateLimit-Global"] == "true"
        callback = await rest("POST", "/interactions/1/token/callback", {"type": 4})
        assert callback.code == 10062


async def test_only_loopback_names_are_served(rest: Rest) -> None:
    url = rest.pg.api_base + "/gateway"
    async with rest.session.get(url, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
    port = rest.pg.port
    async with rest.session.get(url, headers={"Host": f"localhost:{port}"}) as answer:
        assert answer.status == 401
