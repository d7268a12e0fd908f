"""Files: how large they may be, what they say they are, how edits keep and drop them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from bot.playground import Playground, RateLimits
from tests.test_bot_playground_support import Rest, png, rest_of


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    async with rest_of(Playground(rate_limits=RateLimits(enabled=False))) as client:
        yield client


def messages(rest: Rest) -> str:
    return f"/channels/{rest.pg.channel_id}/messages"


@pytest.mark.parametrize("sizes", [[10 * 1024 * 1024 + 1], [9 * 1024 * 1024] * 3])
async def test_too_large_is_413(rest: Rest, sizes: list[int]) -> None:
    files = [(f"{number}.bin", bytes(size)) for number, size in enumerate(sizes)]
    reply = await rest("POST", messages(rest), {"content": "x"}, files=files)
    assert (reply.status, reply.code) == (413, 40005)


async def test_a_file_of_exactly_the_limit_passes(rest: Rest) -> None:
    files = [("a.bin", bytes(10 * 1024 * 1024))]
    reply = await rest("POST", messages(rest), {}, files=files)
    assert reply.status == 200
    assert "width" not in reply.body["attachments"][0]


async def test_an_edit_keeps_adds_and_drops_attachments(rest: Rest) -> None:
    made = await rest("POST", messages(rest), {}, files=[("a.png", png()), ("b.png", png(2, 2))])
    path = f"{messages(rest)}/{made.body['id']}"
    second = made.body["attachments"][1]
    payload = {"attachments": [{"id": second["id"]}, {"id": "0", "description": "new"}]}
    edited = await rest("PATCH", path, payload, files=[("c.png", png(3, 3))])
    shown = [(item["filename"], item.get("description")) for item in edited.body["attachments"]]
    assert shown == [("b.png", None), ("c.png", "new")]
    untouched = await rest("PATCH", path, {"content": "text"})
    assert len(untouched.body["attachments"]) == 2
    bare = await rest("PATCH", path, {"attachments": []})
    assert bare.body["attachments"] == []
    assert (await rest("PATCH", path, {"content": ""})).code == 50006


def film() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    return out.getvalue()


async def test_files_say_what_they_are(rest: Rest) -> None:
    files = [("a.webp", film()), ("SPOILER_b.png", png()), ("c.png", png())]
    listed = [{"id": str(n), "description": f"number {n}"} for n in range(3)]
    made = await rest("POST", messages(rest), {"attachments": listed}, files=files)
    shown = [
        (item["filename"], item["content_type"], item.get("flags", 0), item["description"])
        for item in made.body["attachments"]
    ]
    assert shown == [
        ("a.webp", "image/webp", 1 << 5, "number 0"),
        ("SPOILER_b.png", "image/png", 1 << 3, "number 1"),
        ("c.png", "image/png", 0, "number 2"),
    ]


async def test_the_limit_of_files_can_be_set(rest: Rest) -> None:
    rest.pg.attachment_limit = 1000
    refused = await rest("POST", messages(rest), {}, files=[("a.bin", bytes(1001))])
    assert (refused.status, refused.code) == (413, 40005)
    made = await rest("POST", messages(rest), {}, files=[("a.bin", bytes(1000))])
    edited = await rest(
        "PATCH", f"{messages(rest)}/{made.body['id']}", {}, files=[("b.bin", bytes(1001))]
    )
    assert edited.code == 40005
