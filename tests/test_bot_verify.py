"""/verify: what is found of a picture, how sure that is, what of it is told, and painting again."""

import io
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from bot.origins import claim_of
from bot.playground import MessageRecord
from diffusion import NumericalError, Params
from diffusion.pictures import encode_png
from diffusion.provenance import Provenance
from tests.asking import answer, attach, press, use
from tests.bot_room import Room, job_id, open_room
from tests.fakes import model_info


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    monkeypatch.setattr("tests.fakes.paint", shapes)
    async with open_room(tmp_path) as opened:
        yield opened


def shapes(params: Params, number: int) -> Image.Image:
    """Paint shapes that follow from the seed, so that no two pictures look alike."""
    draw = random.Random(f"{params.seed_of(number)} {params.init_image}")  # noqa: S311
    picture = Image.new("RGB", (params.width, params.height), "white")
    pen = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y = draw.randrange(params.width), draw.randrange(params.height)
        side = draw.randrange(8, 28)
        colour = tuple(draw.randrange(200) for _ in range(3))
        pen.ellipse((x - side, y - side, x + side, y + side), fill=colour)
    return picture


async def file_of(room: Room, message: MessageRecord) -> bytes:
    """Download what a message shows."""
    return await room.pg.read_attachment(message.attachments[0])


async def verify(room: Room, who: str, data: bytes, **options: object) -> MessageRecord:
    """Ask about a file."""
    image = await attach(room, who, data)
    return await use(room, who, "verify", image=image, **options)


def saved(picture: Image.Image, kind: str = "PNG", **how: int) -> bytes:
    """Save a picture without any notes."""
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


async def test_the_posted_file_is_known_byte_for_byte(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart")
        single = await room.result_of(await room.press("bob", grid, "upscale", 2))
        await room.settled(app)
        whole = await verify(room, "bob", await file_of(room, grid))
        assert whole.ephemeral
        assert f"It is the grid of job `{job_id(grid)}`, byte for byte." in whole.content
        assert f"/{grid.channel_id}/{grid.id}" in whole.content
        alone = await verify(room, "bob", await file_of(room, single))
        assert f"job `{job_id(single)}`, byte for byte" in alone.content


async def test_the_pixels_alone_are_known_by_what_the_file_says(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        picture = Image.open(io.BytesIO(await file_of(room, grid)))
        again = encode_png(picture, provenance(job_id(grid), 0))
        shown = await verify(room, "bob", again)
        assert f"Every pixel is that of the grid of job `{job_id(grid)}`" in shown.content


@pytest.mark.parametrize(
    ("kind", "quality", "share"), [("WEBP", 90, 1.0), ("JPEG", 80, 0.5), ("WEBP", 90, 0.5)]
)
async def test_a_worn_picture_is_known_by_its_looks(
    room: Room, kind: str, quality: int, share: float
) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.grid("alice", "another one")
        single = await room.result_of(await room.press("bob", grid, "upscale", 3))
        await room.settled(app)
        picture = Image.open(io.BytesIO(await file_of(room, single))).convert("RGB")
        small = picture.resize((int(picture.width * share), int(picture.height * share)))
        shown = await verify(room, "bob", saved(small, kind, quality=quality))
        assert "**Very likely made here.** It looks like picture" in shown.content
        assert job_id(single) in shown.content or job_id(grid) in shown.content
        assert "of 64 features differ" in shown.content


async def test_a_copied_note_is_called_a_claim(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        other = shapes(Params(prompt="x", seed=999, width=64, height=64), 0)
        shown = await verify(room, "bob", encode_png(other, provenance(job_id(grid), 2)))
        assert "**Not shown.** The file says it is picture 2" in shown.content
        assert "can be copied" in shown.content


async def test_a_strange_picture_is_not_found_and_what_it_says_is_told_safely(room: Room) -> None:
    async with room.bot():
        other = shapes(Params(prompt="x", seed=999, width=64, height=64), 0)
        none = await verify(room, "bob", saved(other))
        assert "**Not found.**" in none.content
        assert "no proof of anything" in none.content
        assert not none.custom_ids
        said = await verify(room, "bob", encode_png(other, provenance("a" * 13, 0)))
        assert "says that Easel made it" in said.content
        evil = replace(provenance("no job", 0), software="**@everyone** <@1> x://y")
        told = await verify(room, "bob", encode_png(other, evil))
        assert "@everyone" not in told.content
        assert "://" not in told.content


async def test_of_a_foreign_job_nothing_is_told_but_that_it_was_made_here(room: Room) -> None:
    async with room.bot() as app:
        direct = room.pg.direct_messages("alice")
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a secret"}, channel_id=direct)
        secret = await room.result_of(ix)
        await room.settled(app)
        data = await file_of(room, secret)
        shown = await verify(room, "bob", data)
        assert shown.content.startswith("**Made here,** byte for byte.")
        worn = saved(Image.open(io.BytesIO(data)).convert("RGB"), "JPEG", quality=85)
        likely = await verify(room, "bob", worn)
        assert likely.content.startswith("**Very likely made here.**")
        claim = shapes(Params(prompt="x", seed=999, width=64, height=64), 0)
        said = await verify(room, "bob", encode_png(claim, provenance(job_id(secret), 0)))
        unknown = await verify(room, "bob", encode_png(claim, provenance("a" * 13, 0)))
        assert said.content == unknown.content
        for message in (shown, likely, said):
            assert job_id(secret) not in message.content
            assert "secret" not in message.content
            assert not message.custom_ids
        assert job_id(secret) in (await verify(room, "alice", data)).content


async def test_painted_again_it_is_the_same_picture(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart --seed 40")
        single = await room.result_of(await room.press("bob", grid, "upscale", 3))
        varied = await room.result_of(await room.press("bob", grid, "vary", 2))
        await room.settled(app)
        shown = await verify(room, "bob", await file_of(room, single))
        before = len(room.engine.submitted)
        ix = await press(room, "bob", shown, "v1:proof:")
        said = await room.shown(ix, lambda found: not found.loading)
        assert said.content == "Painted again: **the same picture**, all 4,096 pixels."
        (params,) = room.engine.submitted[before:]
        assert (params.seed, params.images) == (42, 1)
        assert room.engine.shares[-1] == "relax"
        image = await attach(room, "bob", await file_of(room, varied))
        ix = await room.pg.slash("bob", "verify", {"image": image, "render": True})
        await room.pg.wait(lambda ledger: followed(room, ix.followups, "the same picture"))
        counts = await app.services.store.counts()
        assert counts.waiting + counts.running == 0


def followed(room: Room, ids: list[int], words: str) -> bool:
    """Say whether one of these messages holds the words."""
    return any(words in room.pg.ledger.messages[each].content for each in ids)


async def test_another_picture_is_told_with_its_pixels(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        shown = await verify(room, "bob", await file_of(room, grid))

        def changed(params: Params, number: int) -> Image.Image:
            picture = shapes(params, number)
            picture.putpixel((3, 3), (1, 2, 3))
            return picture

        monkeypatch.setattr("tests.fakes.paint", changed)
        ix = await press(room, "bob", shown, "v1:proof:")
        said = await room.shown(ix, lambda found: not found.loading)
        assert "1 of 4,096 pixels differ" in said.content


async def test_what_cannot_be_painted_again_is_a_sentence(room: Room) -> None:
    async with room.bot(models={"emoji": model_info(), "other": model_info("other")}) as app:
        grid = await room.grid()
        await room.settled(app)
        shown = await verify(room, "bob", await file_of(room, grid))
        room.engine.fail(lambda: NumericalError("not finite"))
        ix = await press(room, "bob", shown, "v1:proof:")
        said = await room.shown(ix, lambda found: not found.loading)
        assert "cannot be painted again" in said.content
        await app.services.store.delete_pictures(job_id(grid))
        ix = await press(room, "bob", shown, "v1:proof:")
        said = await room.shown(ix, lambda found: not found.loading)
        assert "cannot be painted again" in said.content
    async with room.bot(models={"other": model_info("other")}):
        ix = await press(room, "bob", shown, "v1:proof:")
        said = await room.shown(ix, lambda found: not found.loading)
        assert "cannot be painted again" in said.content


async def test_one_comparison_at_a_time(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        shown = await verify(room, "bob", await file_of(room, grid))
        gate = room.engine.hold(1)
        first = await press(room, "bob", shown, "v1:proof:")
        await gate.reached.wait()
        second = await press(room, "bob", shown, "v1:proof:")
        busy = await room.shown(second, lambda found: not found.loading)
        assert "Try in a minute" in busy.content
        gate.open.set()
        await room.shown(first, lambda found: "the same picture" in found.content)


async def test_who_may_ask_for_no_pictures_may_not_have_them_painted_again(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid()
        await room.settled(app)
        shown = await verify(room, "bob", await file_of(room, grid))
        store, bob = app.services.store, room.pg.people["bob"].id
        before = len(room.engine.submitted)
        await store.community.set_quota(room.pg.guild_id, bob, 0.0)
        ix = await press(room, "bob", shown, "v1:proof:")
        used = await room.shown(ix, lambda found: not found.loading)
        await store.community.ban(room.pg.guild_id, bob, until=None, reason="spam", by=1)
        ix = await press(room, "bob", shown, "v1:proof:")
        banned = await room.shown(ix, lambda found: not found.loading)
        assert "spam" in banned.content
        for said in (used, banned):
            assert "same picture" not in said.content
        assert len(room.engine.submitted) == before


@pytest.mark.parametrize("state", ["aaaaaaaaaaaaa:1", "x", ":", "aaaaaaaaaaaaa:-1", "`@here`:1"])
async def test_forged_comparisons_reveal_nothing(room: Room, state: str) -> None:
    async with room.bot():
        grid = await room.grid()
        button = {"type": 2, "id": 9, "style": 2, "label": "x", "custom_id": f"v1:proof:{state}"}
        grid.data["components"] = [{"type": 1, "id": 8, "components": [button]}]
        ix = await room.pg.press("bob", grid.id, f"v1:proof:{state}")
        await ix.acknowledged
        assert "There is no job" in answer(room, ix).content
        assert "@here" not in answer(room, ix).content


@pytest.mark.parametrize(
    "data", [b"no picture", b"", saved(Image.new("RGB", (8, 8)), "GIF"), b"x" * (10 * 2**20 + 1)]
)
async def test_what_is_no_picture_is_a_sentence(room: Room, data: bytes) -> None:
    async with room.bot():
        for command in ("verify", "show"):
            image = await attach(room, "bob", data or b"\0", "evil`@here`.png")
            refused = await use(room, "bob", command, image=image)
            assert refused.ephemeral
            assert refused.content.endswith(".")
            assert len(refused.content) > 20


async def test_a_file_that_is_gone_is_a_sentence(room: Room) -> None:
    async with room.bot():
        image = await attach(room, "bob", saved(Image.new("RGB", (8, 8))))
        room.pg.actions._uploads[int(image)]["url"] += "x/gone.png"
        refused = await use(room, "bob", "verify", image=image)
        assert "Send it again" in refused.content


def test_claims_of_any_text_are_read() -> None:
    for text in (None, "", "a\nSteps: 1, Job: x, Index: 99999, Version: y, Size: z"):
        assert claim_of(text).job_id is None
    assert claim_of("a\nSteps: 1, Job: aaaaaaaaaaaaa, Index: 3, Version: Easel 1").index == 3


def provenance(job: str, index: int) -> Provenance:
    """Return notes as our own files carry them."""
    return Provenance(
        params=Params(prompt="x", seed=1),
        job_id=job,
        index=index,
        model_name="emoji",
        model_sha256=None,
        software="Easel 1.0",
    )
