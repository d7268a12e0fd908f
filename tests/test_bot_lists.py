"""/models, /loras, /presets and /random: what is there, how it is typed, page by page."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from bot.ideas import NOTHING, think, vocabulary_of
from bot.prompt import parse
from diffusion import describe_model
from tests.asking import answer, press, use
from tests.bot_room import QUICK, Room, open_room
from tests.fakes import model_info


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def picture() -> bytes:
    """Return some small PNG."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(out, "PNG")
    return out.getvalue()


async def test_models_say_how_they_are_typed(room: Room) -> None:
    async with room.bot(models={"emoji": model_info(), "big": model_info("large", side=128)}):
        listed = await use(room, "bob", "models")
        assert listed.ephemeral
        first = "`--model emoji` emoji, 64 × 64 · what a prompt without --model gets"
        assert first in listed.content
        assert "`--model big` large, 128 × 128" in listed.content
        assert not listed.custom_ids


async def test_one_model_is_shown_whole_with_its_sheet(room: Room) -> None:
    async with room.bot(models={"emoji": describe_model("emoji"), "emoji2": model_info()}):
        shown = await use(room, "bob", "models", search="emoji")
        assert "20 steps, guidance 3, DPM++ 2M, Karras" in shown.content
        assert f"`{describe_model('emoji').sha256}`" in shown.content
        assert "/imagine a red fox --model emoji" in shown.content
        assert [each["filename"] for each in shown.attachments] == ["preview.png"]
        assert shown.attachments[0]["description"] == "A preview of emoji"


async def test_long_lists_turn_also_after_a_restart_and_search(room: Room) -> None:
    models = {f"m{number:02}": model_info(f"m{number:02}") for number in range(30)}
    models["emoji"] = model_info()
    async with room.bot(models=models):
        listed = await use(room, "bob", "models")
        assert "`--model m06`" in listed.content
        assert "`--model m07`" not in listed.content
        assert listed.content.endswith("Page 1 of 4")
        ix = await room.pg.autocomplete("bob", "models", {"search": "m"}, "search")
        await ix.acknowledged
        assert len(ix.choices) == 25
    async with room.bot(models=models):
        await press(room, "bob", listed, "v1:list:models:1")
        await room.find(lambda _: listed if "`--model m07`" in listed.content else None)
        found = await use(room, "bob", "models", search="M2")
        assert found.content.count("--model m2") == 8
    async with room.bot():
        # A page that is not there any more is the last one.
        await press(room, "bob", found, "v1:list:models:1")
        await room.find(lambda _: found if "Nothing here" in found.content else None)


async def test_nothing_found_shows_the_search_and_nothing_else(room: Room) -> None:
    async with room.bot():
        none = await use(room, "bob", "models", search="`@everyone` <@1> x://y")
        assert "Nothing here is called" in none.content
        assert "@everyone" not in none.content
        assert "://" not in none.content


async def test_loras_and_embeddings_by_model(room: Room, tmp_path: Path) -> None:
    loras, embeddings = tmp_path / "loras", tmp_path / "embeddings"
    loras.mkdir()
    embeddings.mkdir()
    for name in ("water.v1", "ink", "@everyone"):
        (loras / f"{name}.safetensors").write_bytes(b"x")
    (loras / "ink.preview.png").write_bytes(picture())
    (loras / "water.v1.png").write_bytes(b"no picture at all")
    (embeddings / "soft.safetensors").write_bytes(b"x")
    folders = f'loras = "{loras}"\nembeddings = "{embeddings}"\n'
    async with room.bot(f'{QUICK}[models.emoji]\npath = "emoji"\n{folders}'):
        listed = await use(room, "bob", "loras")
        assert "`a red fox <lora:ink:0.8>` for `emoji`" in listed.content
        assert "<lora:water.v1:0.8>" in listed.content
        assert "`a red fox, embedding:soft` for `emoji`" in listed.content
        assert "@everyone" not in listed.content
        ink = await use(room, "bob", "loras", search="ink")
        assert [each["filename"] for each in ink.attachments] == ["preview.png"]
        assert await room.pg.read_attachment(ink.attachments[0]) == picture()
        assert not (await use(room, "bob", "loras", search="water")).attachments


PRESETS = """
[presets.oil]
prompt = "an oil painting of {prompt}, thick paint"
negative = "photo"
flags = "--ar 3:2"
about = "**Oil** on @everyone"
[presets.ink]
prompt = "{prompt}, ink"
"""


async def test_presets_show_what_they_make_of_a_prompt(room: Room) -> None:
    async with room.bot(QUICK + PRESETS):
        listed = await use(room, "bob", "presets")
        assert "`--preset ink` `{prompt}, ink`" in listed.content
        assert "`--preset oil` \\*\\*Oil\\*\\* on" in listed.content
        assert "@everyone" not in listed.content
        shown = await use(room, "bob", "presets", search="oil")
        made = "It makes `an oil painting of a red fox, thick paint` of `a red fox`."
        assert made in shown.content
        assert "It keeps out: `photo`" in shown.content
        assert "It sets: `--ar 3:2`" in shown.content
        ix = await room.pg.autocomplete("bob", "presets", {"search": "i"}, "search")
        await ix.acknowledged
        assert [choice["value"] for choice in ix.choices][:2] == ["ink", "oil"]


async def test_no_loras_is_a_sentence(room: Room, tmp_path: Path) -> None:
    gone = f'{QUICK}[models.emoji]\npath = "emoji"\nloras = "{tmp_path / "gone"}"\n'
    async with room.bot(gone):
        assert "no LoRAs and no embeddings" in (await use(room, "bob", "loras")).content


@pytest.mark.parametrize("state", ["nosuch:0:", "models:x:", "models", "", "models:٣:"])
async def test_forged_list_buttons_get_a_sentence(room: Room, state: str) -> None:
    async with room.bot():
        listed = await use(room, "bob", "models")
        button = {"type": 2, "id": 9, "style": 2, "label": "x", "custom_id": f"v1:list:{state}"}
        listed.data["components"] = [{"type": 1, "id": 8, "components": [button]}]
        ix = await room.pg.press("bob", listed.id, f"v1:list:{state}")
        await ix.acknowledged
        assert "no such list" in answer(room, ix).content


async def test_random_is_painted_at_a_press(room: Room) -> None:
    async with room.bot():
        thought = await use(room, "alice", "random", seed=0)
        assert thought.ephemeral
        again = await use(room, "alice", "random", seed=0)
        assert thought.content == again.content
        prompt = thought.content.split("`")[1]
        result = await room.result_of(await press(room, "alice", thought, "v1:idea:"))
        assert room.engine.submitted[0].prompt == prompt
        assert f"`{prompt}`" in result.content


async def test_random_thinks_again_and_remembers_over_a_restart(room: Room) -> None:
    async with room.bot():
        thought = await use(room, "alice", "random", seed=1)
        first = thought.content
        await press(room, "alice", thought, "v1:think:")
        assert thought.content != first
    async with room.bot():
        await room.result_of(await press(room, "alice", thought, "v1:idea:"))
        assert room.engine.submitted[0].prompt == thought.content.split("`")[1]


async def test_a_forgotten_idea_is_a_sentence(room: Room) -> None:
    async with room.bot() as app:
        thought = await use(room, "alice", "random")
        await app.services.store.forget(room.pg.people["alice"].id)
        ix = await press(room, "alice", thought, "v1:idea:")
        assert "not kept any more" in answer(room, ix).content
        assert room.engine.submitted == []


def test_the_shipped_model_is_asked_for_what_it_learned() -> None:
    words = vocabulary_of(describe_model("emoji"))
    assert len(words.names) > 200
    assert set(words.styles) == {"3d", "twemoji", "noto"}
    for seed in range(300):
        prompt = think(seed, words)
        assert prompt == think(seed, words)
        name, style, *rest = prompt.split(", ")
        assert name in words.names
        assert style.removesuffix(" style") in words.styles
        assert all(part.startswith("on a ") for part in rest)
        assert parse(prompt).prompt == prompt
    assert len({think(seed, words) for seed in range(300)}) > 200


def test_an_admins_lists_come_first() -> None:
    lists = {"beast": ("fox", "{cat|dog}"), "place": ("in fog", "in __colour__ light")}
    lists["colour"] = ("red", "blue")
    words = vocabulary_of(describe_model("emoji"))
    for seed in range(50):
        prompt = think(seed, words, lists)
        assert prompt == think(seed, words, lists)
        assert not {"_", "{", "|"} & set(prompt)
        assert any(beast in prompt for beast in ("fox", "cat", "dog"))
    broken = {"beast": ("__nosuch__",)}
    assert think(3, words, broken).split(", ")[0] in words.names


def test_a_model_that_says_nothing_gets_common_words(tmp_path: Path) -> None:
    assert vocabulary_of(model_info()) == NOTHING
    assert {think(seed, NOTHING) for seed in range(50)} > {think(0, NOTHING)}
    for content in ("[1]", '{"plurals": 3}', "{", "[" * 100_000):
        (tmp_path / "thesaurus.json").write_text(content, encoding="utf-8")
        info = model_info()
        object.__setattr__(info, "path", str(tmp_path))
        assert vocabulary_of(info).names == ()
