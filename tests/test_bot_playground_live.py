"""The page's protocol: what each person sees and what they may do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot.playground import Playground, RateLimits
from bot.playground.wire import Json
from tests.test_bot_playground_bot import Painter
from tests.test_bot_playground_support import aimed, judged, png


class Page:
    """An open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, op: str, **frame: object) -> None:
        await self.socket.send_str(json.dumps({"op": op, **frame}))

    async def until(self, kind: str, **wanted: object) -> Json:
        while True:
            message = await self.socket.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            frame: Json = json.loads(message.data)
            if frame["type"] == kind and wanted.items() <= frame.items():
                return frame


@pytest.fixture
async def pg() -> AsyncIterator[Playground]:
    limits = RateLimits(enabled=False)
    async with judged(Playground(rate_limits=limits)) as playground, aimed(playground, Painter()):
        await playground.ready()
        yield playground


@asynccontextmanager
async def page(pg: Playground, who: str) -> AsyncIterator[Page]:
    url = f"{pg.page_url.replace('http', 'ws', 1)}live?user={pg.people[who].id}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Page(socket)


def offered(hello: Json, channel_id: int) -> set[str]:
    names = {command["id"]: command["name"] for command in hello["commands"]}
    return {names[each] for each in hello["offered"][str(channel_id)]}


async def test_hello_tells_everything(pg: Playground) -> None:
    await pg.say("bob", "earlier")
    async with page(pg, "alice") as alice, page(pg, "carol") as carol:
        hello = await alice.until("hello")
        assert hello["me"]["username"] == "alice"
        assert hello["bot"]["username"] == "Easel"
        assert [person["username"] for person in hello["people"]] == ["alice", "bob", "carol"]
        assert [channel["name"] for channel in hello["channels"]] == [
            "easel",
            "gallery",
            "after-dark",
            "notices",
            "alice",
        ]
        assert hello["guild"] == {"id": str(pg.guild_id), "name": "Easel playground"}
        assert hello["messages"][str(pg.channel_id)][0]["content"] == "earlier"
        assert offered(hello, pg.channel_id) == {"imagine", "About"}
        # What a guild's roles forbid is open in direct messages, where there are none.
        assert offered(hello, pg.direct_messages("alice")) == {"imagine", "About", "admin"}
        assert (await alice.until("presence"))["status"] == "online"
        admin = await carol.until("hello")
        assert offered(admin, pg.channel_id) >= {"admin"}


async def test_a_command_from_the_page_to_the_grid(pg: Playground) -> None:
    channel = str(pg.channel_id)
    async with page(pg, "alice") as alice, page(pg, "bob") as bob:
        options = [{"name": "prompt", "type": 3, "value": "a red", "focused": True}]
        await alice.send(
            "autocomplete", nonce="n0", channel_id=channel, name="imagine", options=options
        )
        completed = await alice.until("autocomplete", nonce="n0")
        assert [choice["name"] for choice in completed["choices"]] == ["a red heart", "a red apple"]
        options = [{"name": "prompt", "type": 3, "value": "a red heart"}]
        await alice.send("slash", nonce="n1", channel_id=channel, name="imagine", options=options)
        assert (await alice.until("interaction", nonce="n1"))["state"] == "pending"
        first = await bob.until("message")
        assert (await alice.until("interaction", nonce="n1"))["state"] == "ack"
        update = await bob.until("message_update")
        assert update["message"]["id"] == first["message"]["id"]
        post = (await bob.until("message"))["message"]
        assert post["attachments"][0]["url"].startswith(pg.cdn_base)
        await bob.send("press", nonce="n2", message_id=post["id"], custom_id="v1:info:0")
        card = (await bob.until("message"))["message"]
        assert card["flags"] == 64
        await bob.send("dismiss", message_id=card["id"])
        assert (await bob.until("message_delete"))["id"] == card["id"]
        await bob.send("press", nonce="n3", message_id=post["id"], custom_id="v1:modal:1")
        modal = await bob.until("modal")
        field = modal["components"][0]
        inner = field["components"][0] if field["type"] == 1 else field["component"]
        await bob.send(
            "modal",
            nonce="n4",
            interaction_id=modal["interaction_id"],
            custom_id=modal["custom_id"],
            fields={inner["custom_id"]: "blue"},
        )
        assert (await bob.until("message"))["message"]["content"] == "remixed blue / none"
        await alice.send("say", channel_id=channel, content="done")
        said = (await alice.until("message"))["message"]
        while said["content"] != "done":
            assert said["flags"] & 64 == 0, "alice saw what was meant for bob"
            said = (await alice.until("message"))["message"]


async def test_a_press_nobody_answers_fails(pg: Playground) -> None:
    button = {"type": 2, "style": 1, "label": "x", "custom_id": "nobody"}
    record = await pg.say("bob", "x")
    record.data["components"] = [{"type": 1, "id": 1, "components": [button | {"id": 2}]}]
    async with page(pg, "alice") as alice:
        await alice.send("press", nonce="n", message_id=str(record.id), custom_id="nobody")
        failed = await alice.until("interaction", state="failed")
        assert failed["text"] == "The application did not respond"


@pytest.mark.parametrize(
    ("op", "frame", "kind", "text"),
    [
        ("slash", {"name": "nothing", "channel_id": "{channel}"}, "interaction", "no command"),
        ("slash", {"name": "imagine", "channel_id": "1"}, "interaction", "Unknown Channel"),
        ("slash", {"name": "imagine", "channel_id": "{channel}"}, "interaction", "is required"),
        ("press", {"message_id": "1", "custom_id": "x"}, "interaction", "sees no message"),
        ("say", {"channel_id": "{channel}", "content": ""}, "error", "empty message"),
        ("say", {"channel_id": "{channel}"}, "error", "unreadable"),
        ("dance", {}, "error", "no op 'dance'"),
    ],
)
async def test_what_cannot_be_done_says_why(
    pg: Playground, op: str, frame: dict[str, str], kind: str, text: str
) -> None:
    filled = {key: value.format(channel=pg.channel_id) for key, value in frame.items()}
    async with page(pg, "alice") as alice:
        await alice.send(op, nonce="n", **filled)
        failed = await alice.until(kind)
        assert text in failed["text"]


async def test_subcommands_come_flat_or_nested(pg: Playground) -> None:
    bob = str(pg.people["bob"].id)
    flat = [{"name": "member", "type": 6, "value": bob}]
    nested = [{"name": "ban", "type": 1, "options": flat}]
    channel = str(pg.channel_id)
    async with page(pg, "carol") as carol:
        for name, options in (("admin ban", flat), ("admin", nested)):
            await carol.send("slash", nonce="n", channel_id=channel, name=name, options=options)
            answer = (await carol.until("message"))["message"]
            assert answer["content"] == f"Bob {bob} True"


async def test_an_upload_becomes_an_option(pg: Playground) -> None:
    form = aiohttp.FormData()
    form.add_field("file", png(5, 4), filename="a b.png")
    url = f"{pg.page_url}upload?user={pg.people['alice'].id}"
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
        attachment = await answer.json()
    assert (attachment["width"], attachment["height"]) == (5, 4)
    options = [
        {"name": "prompt", "type": 3, "value": "x"},
        {"name": "image", "type": 11, "value": attachment["id"]},
    ]
    async with page(pg, "alice") as alice:
        await alice.send(
            "slash",
            nonce="n",
            channel_id=str(pg.channel_id),
            name="imagine",
            options=options,
        )
        first = (await alice.until("message"))["message"]
        assert f" {len(png(5, 4))} " in first["content"]


async def test_the_page_is_behind_its_key_and_its_own_origin(pg: Playground) -> None:
    base = f"http://127.0.0.1:{pg.port}"
    async with aiohttp.ClientSession() as session:

        async def status(url: str, **headers: str) -> int:
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                return answer.status

        assert await status(pg.page_url) == 200
        assert await status(pg.page_url.rstrip("/")) == 302
        assert await status(f"{base}/wrong/") == 404
        assert await status(f"{pg.page_url}static/style.css") == 200
        assert await status(f"{pg.page_url}static/..%2fserver.py") == 404
        assert await status(f"{pg.page_url}static/none.css") == 404
        assert await status(pg.page_url, Origin="http://evil.example") == 403
        assert await status(pg.page_url, Origin=base) == 200
        assert await status(pg.page_url, Host="evil.example") == 403
        assert await status(f"{pg.page_url}live?user=1") == 404
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(
                f"{pg.page_url}live?user=alice", headers={"Origin": "http://evil.example"}
            )


async def test_files_are_served_so_that_no_browser_runs_them(pg: Playground) -> None:
    attachment = await pg.upload("alice", "evil.html", b"<script>alert(1)</script>")
    async with aiohttp.ClientSession() as session, session.get(attachment["url"]) as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        missing = f"{pg.cdn_base}/attachments/1/1/a.png"
        async with session.get(missing) as absent:
            assert absent.status == 404


async def test_reactions_are_each_viewers_own(pg: Playground) -> None:
    record = await pg.say("carol", "look")
    async with page(pg, "alice") as alice, page(pg, "bob") as bob:
        await alice.send("react", message_id=str(record.id), emoji="⭐", added=True)
        mine = (await alice.until("message_update"))["message"]["reactions"]
        theirs = (await bob.until("message_update"))["message"]["reactions"]
        assert [(item["count"], item["me"]) for item in (*mine, *theirs)] == [(1, True), (1, False)]
        assert "users" not in mine[0]
        await alice.send("react", message_id=str(record.id), emoji="⭐", added=False)
        assert "reactions" not in (await bob.until("message_update"))["message"]


async def test_a_menu_and_an_answer_from_the_page(pg: Playground) -> None:
    record = await pg.say("bob", "something")
    channel = str(pg.channel_id)
    async with page(pg, "alice") as alice:
        target = {"channel_id": channel, "target_id": str(record.id)}
        await alice.send("menu", nonce="n1", name="About", **target)
        answer = (await alice.until("message"))["message"]
        assert answer["content"] == "about something"
        await alice.send("menu", nonce="n2", name="Nothing", **target)
        assert "no command 'Nothing'" in (await alice.until("interaction", nonce="n2"))["text"]
        await alice.send("say", channel_id=channel, content="yes", reply_to=str(record.id))
        said = (await alice.until("message"))["message"]
        assert said["referenced_message"]["content"] == "something"


async def test_a_language_is_the_persons_and_the_guilds(pg: Playground) -> None:
    async with page(pg, "alice") as alice, page(pg, "bob") as bob:
        assert (await alice.until("hello"))["me"]["locale"] == "en-US"
        await alice.send("locale", channel_id=str(pg.channel_id), locale="ja")
        assert (await alice.until("hello"))["me"]["locale"] == "ja"
        assert (await bob.until("hello"))["me"]["locale"] == "en-US"
        assert pg.guilds[0].locale == "ja"
        await alice.send("locale", channel_id=str(pg.channel_id), locale="tlh")
        assert "no language" in (await alice.until("error"))["text"]


async def test_direct_messages_are_seen_by_their_person_alone(pg: Playground) -> None:
    direct = pg.direct_messages("bob")
    async with page(pg, "alice") as alice, page(pg, "bob") as bob:
        await pg.say("bob", "psst", channel_id=direct)
        await pg.say("bob", "hello")
        assert (await bob.until("message"))["message"]["content"] == "psst"
        assert (await alice.until("message"))["message"]["content"] == "hello"
        hello = await visible(pg, "alice")
        assert str(direct) not in hello["messages"]
        pg.leave("alice")
        assert [item["name"] for item in (await alice.until("hello"))["channels"]] != []
        left = await visible(pg, "alice")
        assert [item["name"] for item in left["channels"]] == ["alice"]


async def visible(pg: Playground, who: str) -> Json:
    """What a fresh page is told."""
    async with page(pg, who) as fresh:
        return await fresh.until("hello")
