"""/describe, /shorten, /blend, /morph, /grid, the message menu, reactions: through real sockets."""

import io
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bot import buttons, describing, moderation, presses_people, suggestions
from bot.axes import AxisError, compare, read_axis
from bot.playground import InteractionState, MessageRecord, PlayInteraction
from bot.prompt import FLAGS, parse
from bot.sheets import lay_out
from bot.shortening import marked, shorter
from diffusion import Influence, Params
from storage import JobKind, JobState, Scope, Store
from tests.asking import attach, begin, use
from tests.bot_desk import after_writes
from tests.bot_room import QUICK, Room, job_id, job_of, open_room, results
from tests.fakes import colour


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def png(shade: tuple[int, int, int], side: int = 96) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), shade).save(out, "PNG")
    return out.getvalue()


async def opened(room: Room, message: MessageRecord) -> Image.Image:
    return Image.open(io.BytesIO(await room.pg.read_attachment(message.attachments[0])))


async def open_menu(
    room: Room, who: str, message: MessageRecord, name: str
) -> tuple[PlayInteraction, MessageRecord | None]:
    """Choose an entry of a message's menu; return what answered it, if a message did."""
    ix = await room.pg.menu(who, message.id, name)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    if ix.modal is not None:
        return ix, None
    return ix, await room.shown(ix, lambda found: not found.loading)


async def test_describe_offers_four_prompts_that_open_in_a_modal(room: Room) -> None:
    async with room.bot():
        picture = await attach(room, "alice", png((200, 30, 30)))
        told = await use(room, "alice", "describe", image=picture)
        assert "1. `a red heart`" in told.content
        assert "4. `a green tree`" in told.content
        ideas = [each for each in told.custom_ids if each.startswith("v1:take:")]
        assert len(ideas) == 4
    async with room.bot():
        ix = await room.pg.press("alice", told.id, ideas[1])
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        sent = await room.pg.submit("alice", ix, {})
        grid = await room.result_of(sent)
        assert "`a blue fish`" in grid.content


async def test_describe_refuses_what_is_no_picture(room: Room) -> None:
    async with room.bot():
        text = await attach(room, "alice", b"not a picture at all", "notes.png")
        told = await use(room, "alice", "describe", image=text)
        assert "cannot be used" in told.content
        other = await use(room, "alice", "describe", image=text, model="sdxl")
        assert "`sdxl`" in other.content


async def test_shorten_shows_what_matters_and_offers_less(room: Room) -> None:
    async with room.bot():
        told = await use(room, "bob", "shorten", prompt="a mysterious lighthouse at sea --ar 3:2")
        assert "**mysterious**" in told.content
        assert "~~a~~" in told.content
        ideas = [each for each in told.custom_ids if each.startswith("v1:take:")]
        assert 3 <= len(ideas) <= 5
        ix = await room.pg.press("bob", told.id, ideas[-1])
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        grid = await room.result_of(await room.pg.submit("bob", ix, {}))
        assert "--ar 3:2" in grid.content
        assert room.engine.submitted[-1].width > room.engine.submitted[-1].height


async def test_shorten_shows_the_place_of_a_fault(room: Room) -> None:
    async with room.bot():
        told = await use(room, "bob", "shorten", prompt="a fox --oops 3")
        assert "--oops" in told.content
        assert "^" in told.content


def influence(*pairs: tuple[str, float]) -> list[Influence]:
    found, at = [], 0
    for word, share in pairs:
        found.append(Influence(word, at, at + len(word), share))
        at += len(word) + 1
    return found


def test_shorter_prompts_keep_order_and_drop_the_idle_first() -> None:
    words = influence(("a", 0.02), ("red", 0.3), ("fox", 0.4), ("in", 0.03), ("snow", 0.25))
    prompts = shorter(words, "--tile")
    assert prompts == ("red fox, snow --tile", "red fox --tile", "fox --tile")
    assert marked(words) == "~~a~~ **red** **fox** ~~in~~ **snow**"
    assert shorter(influence(("fox", 1.0)), "") == ()
    assert shorter([], "") == ()


def test_shorter_prompts_leave_praise_out_and_keep_nouns_with_their_colours() -> None:
    words = influence(
        ("a", 0.07), ("lovely", 0.36), ("big", 0.09), ("red", 0.05), ("heart", 0.13),
        ("on", 0.03), ("a", 0.02), ("very", 0.03), ("bright", 0.02), ("green", 0.16),
        ("background", 0.04),
    )  # fmt: skip
    assert shorter(words, "") == (
        "a big red heart on a green background",
        "big red heart, green background",
        "big heart, green background",
        "heart, green background",
        "heart",
    )
    assert "~~very~~ ~~bright~~ **green**" in marked(words)
    assert "lovely big red **heart**" in marked(words)


@pytest.mark.parametrize(
    ("prompt", "shares", "first"),
    [
        ("an amazing cat, please", "1941", "a cat"),
        ("a glass of cold, sweet juice", "151155", "glass of sweet juice"),
        ("black and white ball", "5153", "ball"),
        ("very nice", "13", "nice"),
        ("a (big red:1.3) fox <lora:ink:1>", "13360", "(big red:1.3) fox <lora:ink:1>"),
        ("(big red fox:1.3) in snow", "13306", "snow"),
        ("on and of", "111", ""),
    ],
)
def test_shorter_prompts_read_well(prompt: str, shares: str, first: str) -> None:
    words = influence(*zip(prompt.split(), map(int, shares), strict=True))
    found = shorter(words, "")
    assert (found or ("",))[0] == first
    assert all(len(one) > len(other) for one, other in pairwise(found))


async def test_blend_mixes_pictures_and_says_so(room: Room) -> None:
    async with room.bot() as app:
        first = await attach(room, "alice", png((200, 0, 0)))
        second = await attach(room, "alice", png((0, 0, 200)))
        ix = await begin(room, "alice", "blend", image1=first, image2=second, dimensions="3:2")
        grid = await room.result_of(ix)
        assert "blend of 2 pictures" in grid.content
        assert "Blended for" in grid.content
        (source,) = room.engine.sources
        assert source is not None
        assert source.width > source.height
        red, _, blue = np.asarray(source).reshape(-1, 3).mean(axis=0)
        assert abs(red - 100) < 2
        assert abs(blue - 100) < 2
        assert room.engine.submitted[0].prompt == "a red heart"
        job = await job_of(app, grid)
        assert job.kind is JobKind.BLEND
        assert job.images == 4


async def test_blend_without_words_says_what_the_pictures_show(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def named(model: str, picture: Image.Image, *, count: int) -> list[str]:
        assert (model, count) == ("emoji", 1)
        red = np.asarray(picture)[0, 0, 0] > 100
        return ["a red heart, ink style" if red else "a fish"]

    monkeypatch.setattr(room.engine, "describe", named)
    async with room.bot():
        first = await attach(room, "alice", png((200, 0, 0)))
        second = await attach(room, "alice", png((0, 0, 200)))
        await room.result_of(await begin(room, "alice", "blend", image1=first, image2=second))
        assert room.engine.submitted[0].prompt == "a red heart::1 a fish::1"


async def test_blend_with_words_paints_the_words(room: Room) -> None:
    async with room.bot():
        pictures = [await attach(room, "bob", png((10 * n, 90, 0))) for n in range(5)]
        given = {f"image{number}": each for number, each in enumerate(pictures, start=1)}
        ix = await begin(room, "bob", "blend", prompt="a castle --seed 3", **given)
        grid = await room.result_of(ix)
        assert room.engine.submitted[0].prompt == "a castle"
        assert room.engine.submitted[0].seed == 3
        assert "`a castle --seed 3`" in grid.content


async def test_morph_is_one_animated_picture(room: Room) -> None:
    async with room.bot() as app:
        ix = await begin(
            room, "alice", "morph", **{"from": "a red heart", "to": "a fish", "frames": 5}
        )
        film = await room.result_of(ix)
        assert film.attachments[0]["filename"] == f"easel-{job_id(film)}.webp"
        assert "`a red heart → a fish`" in film.content
        picture = await opened(room, film)
        assert (picture.format, picture.n_frames) == ("WEBP", 8)  # type: ignore[attr-defined]
        params = room.engine.submitted[0]
        assert (params.images, params.morph) == (5, ("a fish",))
        kept = await app.services.store.pictures(job_id(film))
        assert [each.index for each in kept] == [0, 1, 2, 3, 4, 5]
        assert film.custom_ids[0].startswith("v1:reroll:")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"through": "|".join("abc" * 12)}, "prompts"),
        ({"through": "b|c|d", "frames": 3}, "as many frames"),
    ],
)
async def test_morph_refuses_what_makes_no_film(
    room: Room, options: dict[str, object], sentence: str
) -> None:
    async with room.bot():
        told = await use(room, "alice", "morph", **{"from": "a", "to": "z", **options})
        if "through" in options and "frames" not in options:
            assert "36" in told.content or sentence in told.content
        else:
            assert sentence in told.content
        assert not room.engine.submitted


async def test_grid_compares_settings_from_one_noise(room: Room) -> None:
    async with room.bot() as app:
        ix = await begin(room, "alice", "grid", prompt="a red heart", x="steps=2,3,4", y="cfg=1,7")
        sheet = await room.result_of(ix)
        painted = room.engine.submitted
        assert [(one.steps, one.guidance_scale) for one in painted] == [
            (2, 1.0), (3, 1.0), (4, 1.0), (2, 7.0), (3, 7.0), (4, 7.0)
        ]  # fmt: skip
        assert len({one.seed for one in painted}) == 1
        assert all(one.images == 1 for one in painted)
        picture = await opened(room, sheet)
        assert picture.width > picture.height > 512
        shade = colour(painted[0].seed)
        found = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert (found == shade).all(axis=1).sum() > 6 * 200**2
        assert (await job_of(app, sheet)).kind is JobKind.GRID


@pytest.mark.parametrize("y", [None, "prompt=red,blue"])
async def test_no_cell_slips_past_the_blocked_words(room: Room, y: str | None) -> None:
    settings = QUICK + '[moderation]\nblocked_words = ["blue"]\n'
    async with room.bot(settings):
        given = {"x": "prompt=red,blue"} if y is None else {"x": "steps=2,3", "y": y}
        told = await use(room, "bob", "grid", prompt="a red heart", **given)
        assert "`blue`" in told.content
        assert told.ephemeral
        assert not room.engine.submitted


async def test_grid_painted_again_has_another_noise_in_every_cell(room: Room) -> None:
    async with room.bot():
        ix = await begin(room, "bob", "grid", prompt="a heart --seed 5", x="steps=2,3")
        again = await room.press("bob", await room.result_of(ix), "reroll")
        await room.result_of(again)
        first, second, *others = room.engine.submitted
        assert (first.seed, second.seed) == (5, 5)
        assert len(others) == 2
        assert len({one.seed for one in others}) == 1
        assert others[0].seed != 5
        assert [one.steps for one in others] == [2, 3]


async def test_grid_replaces_words(room: Room) -> None:
    async with room.bot():
        ix = await begin(room, "bob", "grid", prompt="a red heart", x="prompt=red,blue")
        await room.result_of(ix)
        assert [one.prompt for one in room.engine.submitted] == ["a red heart", "a blue heart"]


@pytest.mark.parametrize(
    ("axis", "part"),
    [
        ("steps", "is no axis"),
        ("oops=1,2", "cannot be compared"),
        ("prompt=cat,dog", "is not in the prompt"),
        ("steps=" + ",".join(map(str, range(1, 30))), "25 are the most"),
        ("steps=1,none", "whole number"),
    ],
)
async def test_grid_refuses_in_a_sentence(room: Room, axis: str, part: str) -> None:
    async with room.bot():
        told = await use(room, "alice", "grid", prompt="a red heart", x=axis)
        assert part in told.content
        assert not room.engine.submitted


async def test_grid_numbers_labels_that_cannot_be_drawn(room: Room) -> None:
    async with room.bot():
        ix = await begin(room, "bob", "grid", prompt="a 赤 heart", x="prompt=赤,青", y="steps=2,3")
        sheet = await room.result_of(ix)
        assert "(#1 赤, #2 青)" in sheet.content.replace("\\", "")


async def test_what_is_offered_while_typing_comes_from_the_table(room: Room) -> None:
    async with room.bot():
        asked = await room.pg.autocomplete("bob", "grid", {"prompt": "a fox", "x": "st"}, "x")
        assert await asked.acknowledged is InteractionState.ACKNOWLEDGED
        axes = [str(choice["value"]) for choice in asked.choices or ()]
        assert axes[0].startswith(("steps=", "stylize=", "stop=", "strength="))
        assert "steps=10,20,30" in axes
        for typed in axes:
            comparison = compare("a red fox", read_axis(typed, "a red fox"), None)
            assert all(parse(text) for text in comparison.texts)
        given = {"suffix": "--ar 3:2 --ch"}
        asked = await room.pg.autocomplete("bob", "prefer suffix", given, "suffix")
        assert await asked.acknowledged is InteractionState.ACKNOWLEDGED
        offered = [str(choice["value"]) for choice in asked.choices or ()]
        assert offered == ["--ar 3:2 --chaos 30"]


def test_every_offer_reads_as_it_stands() -> None:
    for flag in FLAGS:
        typed = f"a fox --{flag.name} {flag.example}".strip()
        assert flag.name in parse(typed).spans


def test_axes_are_told_apart() -> None:
    x = read_axis("--steps=1,2", "fox")
    with pytest.raises(AxisError, match="same thing"):
        compare("fox", x, read_axis("steps=3", "fox"))
    assert compare("fox", x, read_axis("seed=1", "fox")).texts == (
        "fox --seed 1 --steps 1",
        "fox --seed 1 --steps 2",
    )


def test_cells_keep_their_shape_under_long_labels() -> None:
    cells = [Image.new("RGB", (100, 50), "#ff0000"), Image.new("RGB", (50, 100), "#0000ff")]
    sheet = lay_out(cells, across=["x" * 200, "short"], down=[])
    found = np.asarray(sheet).reshape(-1, 3)
    assert (found == (255, 0, 0)).all(axis=1).sum() == 5000
    assert (found == (0, 0, 255)).all(axis=1).sum() == 5000


async def test_the_menu_does_what_the_buttons_do(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart --seed 4")
        await room.settled(app)
        _, info = await open_menu(room, "bob", grid, "Info")
        assert info is not None
        assert any(field["value"] == "4" for field in info.data["embeds"][0]["fields"])
        _, which = await open_menu(room, "bob", grid, "Upscale")
        assert which is not None
        assert [each.split(":")[1] for each in which.custom_ids] == ["up2s"] * 4
        larger = await room.result_of(await room.press("bob", which, "up2s", 3))
        assert "Picture 3 enlarged" in larger.content
        remixing, _ = await open_menu(room, "bob", grid, "Remix")
        assert remixing.modal is not None
        _, choose = await open_menu(room, "bob", grid, "Describe")
        assert choose is not None
        ix = await room.press("bob", choose, "names", 3)
        described = await room.shown(ix, lambda found: not found.loading)
        assert "`a red heart`" in described.content
        _, at_once = await open_menu(room, "bob", larger, "Describe")
        assert at_once is not None
        assert "`a red heart`" in at_once.content
        _, refused = await open_menu(room, "bob", grid, "Delete")
        assert refused is not None
        assert "Only the person who asked" in refused.content
        _, asked = await open_menu(room, "alice", grid, "Delete")
        assert asked is not None
        await room.pg.press("alice", asked.id, asked.custom_ids[0])
        await room.find(
            lambda ledger: ledger.messages[grid.id] if ledger.messages[grid.id].deleted_at else None
        )


async def test_the_menu_on_other_messages(room: Room) -> None:
    async with room.bot():
        said = await room.pg.say("bob", "hello")
        for name in ("Info", "Remix", "Upscale", "Delete"):
            _, told = await open_menu(room, "alice", said, name)
            assert told is not None
            assert "no pictures of mine" in told.content
        _, told = await open_menu(room, "alice", said, "Describe")
        assert told is not None
        assert "no picture to describe" in told.content


async def test_an_envelope_sends_it_home(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart --seed 4")
        await room.settled(app)
        await room.pg.react("bob", grid.id, "✉️")
        home = room.pg.direct_messages("bob")
        sent = await room.find(
            lambda ledger: next((one for one in results(ledger) if one.channel_id == home), None)
        )
        assert "seed 4" in sent.content
        assert job_id(grid) in sent.content
        there, here = await opened(room, sent), await opened(room, grid)
        assert np.array_equal(np.asarray(there), np.asarray(here))


async def test_what_is_for_age_restricted_channels_stays_there(room: Room) -> None:
    async with room.bot(QUICK + '[moderation]\nunsafe = "restricted"\n') as app:
        alice = room.pg.people["alice"].id
        await app.services.store.people.set_preference(Scope.USER, alice, "dm", True)
        room.engine.flagged = (True, False, False, False)
        dark = room.pg.channels["after-dark"]
        ix = await room.pg.slash("alice", "imagine", {"prompt": "a heart"}, channel_id=dark)
        grid = await room.result_of(ix)
        await room.settled(app)
        await room.pg.react("alice", grid.id, "✉️")
        room.engine.flagged = ()
        other = await room.grid("alice", "a fish")
        await room.settled(app)
        home = room.pg.direct_messages("alice")
        found = [job_id(each) for each in results(room.pg.ledger) if each.channel_id == home]
        assert found == [job_id(other)]


async def test_a_cross_ends_ones_own_alone(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(2)
        ix = await room.imagine("alice", "a slow heart")
        await gate.reached.wait()
        waiting = room.answer(ix)
        await room.pg.react("bob", waiting.id, "❌")
        await room.pg.react("alice", waiting.id, "❌")
        told = await room.shown(ix, lambda found: "Cancelled by" in found.content)
        assert str(room.pg.people["alice"].id) in told.content
        gate.open.set()
        grid = await room.grid("alice", "a red heart")
        await room.settled(app)
        await room.pg.react("bob", grid.id, "❌")
        await room.pg.react("alice", grid.id, "❌")
        await room.find(
            lambda ledger: ledger.messages[grid.id] if ledger.messages[grid.id].deleted_at else None
        )
        job = await job_of(app, grid)
        assert job.deleted_at is not None
        assert job.state is JobState.POSTED


async def test_a_star_keeps_it_until_it_is_taken_back(room: Room) -> None:
    async with room.bot() as app:
        grid = await room.grid("alice", "a red heart")
        await room.settled(app)
        bob, store = room.pg.people["bob"].id, app.services.store
        await room.pg.react("bob", grid.id, "👍")
        await room.pg.react("bob", grid.id, "⭐")
        await _until(store, bob, 1)
        await room.pg.react("bob", grid.id, "⭐", added=False)
        await _until(store, bob, 0)


async def _until(store: Store, user_id: int, count: int) -> None:
    """Wait until somebody has so many favourites; nothing in the channel tells of them."""

    async def has_so_many() -> bool:
        return len(await store.people.favourites(user_id)) == count

    await after_writes(store, has_so_many)


def test_params_of_a_morph_are_remembered() -> None:
    params = Params(prompt="a", morph=("b", "c"), images=5)
    assert Params.from_json(params.to_json()) == params


def test_no_two_kinds_of_press_share_an_action() -> None:
    tables = (presses_people.HANDLERS, moderation.HANDLERS, buttons.HANDLERS)
    actions = [action for table in tables for action in table]
    actions += ["page", "fix", "perm", suggestions.ACTION, describing.ACTION]
    assert len(set(actions)) == len(actions)
