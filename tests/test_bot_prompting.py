"""From /imagine to jobs: questions before many, settings and shortcuts, word lists, pictures."""

import io
from collections.abc import AsyncIterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from bot.jobs import details_of
from bot.playground import MessageRecord, PlayInteraction
from diffusion import Params
from storage import Job, Scope
from tests.asking import answer, attach, begin, label, press, use
from tests.bot_room import QUICK, Room, open_room, results

FEW = QUICK + "[queue]\nmax_waiting_user = 40\n"
STYLED = QUICK + "[presets.ink]\nprompt = 'ink drawing of {prompt}'\nflags = '--ar 3:2'\n"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def png(width: int = 40, height: int = 20) -> bytes:
    """Draw a picture that is red at its ends and blue in the middle."""
    picture = Image.new("RGB", (width, height), "red")
    picture.paste("blue", (width // 4, 0, width - width // 4, height))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


async def prefer(room: Room, who: str, values: Mapping[str, object]) -> None:
    """Set what /settings and /prefer set."""
    store, user_id = room.app.services.store, room.pg.people[who].id
    for key, value in values.items():
        await store.people.set_preference(Scope.USER, user_id, key, value)


async def jobs_of(room: Room, who: str = "alice") -> list[Job]:
    """Return somebody's jobs, oldest first."""
    found = await room.app.services.store.history(
        requester_id=room.pg.people[who].id, guild_id=None, limit=50
    )
    return sorted(found, key=lambda job: (job.interaction_id, job.repeat_index))


async def painted(room: Room, ix: PlayInteraction) -> Params:
    """Wait for the pictures of an interaction, and return what was painted last."""
    await room.result_of(ix)
    return room.engine.submitted[-1]


async def many(room: Room, count: int) -> None:
    """Wait until so many results are posted."""
    await room.pg.wait(lambda ledger: len(results(ledger)) >= count or None, timeout=20)


async def ask(room: Room, prompt: str, who: str = "alice") -> MessageRecord:
    """Type a prompt and return what is asked or said."""
    return await use(room, who, "imagine", prompt=prompt)


async def test_several_prompts_are_asked_about_and_then_painted(room: Room) -> None:
    async with room.bot(FEW):
        question = await ask(room, "{red, green} bird --ar {1:1, 3:2} --seed 5")
        assert question.ephemeral
        assert "4 jobs" in question.content
        assert "`red bird --ar 1:1 --seed 5`" in question.content
        assert "- and one more" in question.content
        assert room.engine.submitted == []
        await press(room, "alice", question, "v1:perm:")
        await many(room, 4)
        assert [params.prompt for params in room.engine.submitted].count("red bird") == 2
        assert {params.width > params.height for params in room.engine.submitted} == {True, False}
        assert {params.seed for params in room.engine.submitted} == {5}


async def test_a_second_go_starts_nothing(room: Room) -> None:
    async with room.bot(FEW):
        question = await ask(room, "a {red, green} bird")
        await press(room, "alice", question, "v1:perm:")
        again = await press(room, "alice", question, "v1:perm:")
        assert "started already" in answer(room, again).content
        await many(room, 2)
        assert len(await jobs_of(room)) == 2


async def test_no_starts_nothing(room: Room) -> None:
    async with room.bot(FEW):
        question = await ask(room, "a {red, green} bird")
        await press(room, "alice", question, "v1:perm:no")
        said = await room.find(
            lambda ledger: (
                ledger.messages[question.id]
                if ledger.messages[question.id].content == "Nothing was started."
                else None
            )
        )
        assert not said.components
        assert await jobs_of(room) == []


async def test_a_question_outlives_the_bot(room: Room) -> None:
    async with room.bot(FEW):
        question = await ask(room, "a {red, green} bird")
    async with room.bot(FEW):
        await press(room, "alice", question, "v1:perm:")
        await many(room, 2)


async def test_a_question_that_was_forgotten_says_so(room: Room) -> None:
    async with room.bot(FEW) as app:
        question = await ask(room, "a {red, green} bird")
        await app.services.store.forget(room.pg.people["alice"].id)
        ix = await press(room, "alice", question, "v1:perm:")
        assert "too old" in answer(room, ix).content


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{a, b, c, d, e} {a, b, c}", "10 are the most"),
        ("{a, b} " * 10, "1,024 prompts"),
        ("a {red, green", "never closed"),
        ("a bird --ar {1:1, 3}", "needs two whole numbers"),
        ("a {cat, forbidden}", "not allowed"),
    ],
)
async def test_what_cannot_be_several_is_refused_before_it_is_asked(
    room: Room, prompt: str, said: str
) -> None:
    async with room.bot(QUICK + "[moderation]\nblocked_words = ['forbidden']\n"):
        refused = await ask(room, prompt)
        assert said in refused.content
        assert not [each for each in refused.custom_ids if each.startswith("v1:perm:")]
        # Mended, one of several prompts would run, and the others be lost.
        assert ("v1:fix:" in "".join(refused.custom_ids)) == ("never closed" in said)
        assert await jobs_of(room) == []


async def test_settings_hold_where_nothing_was_typed(room: Room) -> None:
    async with room.bot():
        await prefer(room, "alice", {"quality": 2.0, "speed": "relax", "private": True})
        assert (await painted(room, await room.imagine())).steps == 8
        assert (await painted(room, await room.imagine(prompt="a cat --q .5 --fast"))).steps == 2
        one, other = await jobs_of(room)
        assert details_of(one)["share"] == "relax"
        assert details_of(one)["private"] is True
        assert "share" not in details_of(other)
        assert (await painted(room, await room.imagine("bob"))).steps == 4


async def test_shortcuts_and_a_suffix_are_put_in(room: Room) -> None:
    async with room.bot() as app:
        alice = room.pg.people["alice"].id
        await app.services.store.people.set_macro(alice, "mine", "in neon --no text --chaos 9")
        await prefer(room, "alice", {"suffix": "--ar 3:2 --stop 50"})
        params = await painted(room, await room.imagine(prompt="a cat --mine --stop 100"))
        assert params.prompt == "a cat in neon"
        assert (params.negative_prompt, params.chaos, params.stop) == ("text", 9, 100)
        assert params.width > params.height
        await app.services.store.people.set_macro(alice, "round", "--round")
        assert "circle" in (await ask(room, "a cat --round")).content


async def test_word_lists_are_drawn_from_by_the_seed(room: Room) -> None:
    lists = room.folder / "lists"
    lists.mkdir()
    (lists / "colour.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    toml = QUICK + "[defaults]\nwildcards = 'lists'\n"
    async with room.bot(toml):
        text = "a __colour__ {cat|dog} --seed 3"
        first = await painted(room, await room.imagine(prompt=text))
        again = await painted(room, await room.imagine(prompt=text))
        assert first == again
        assert "_" not in first.prompt
        job = (await jobs_of(room))[0]
        assert job.prompt == f"{first.prompt} --seed 3"
        assert details_of(job)["typed"] == text
        refused = await ask(room, "a __color__ cat")
        assert "colour" in refused.content
        fixed = await press(room, "alice", refused, "v1:fix:")
        assert "_" not in (await painted(room, fixed)).prompt


async def test_a_template_is_an_option_and_completes(room: Room) -> None:
    async with room.bot(STYLED):
        ix = await begin(room, "alice", "imagine", prompt="a cat", preset="ink")
        params = await painted(room, ix)
        assert params.prompt == "ink drawing of a cat"
        assert params.width > params.height
        typing = await room.pg.autocomplete(
            "alice", "imagine", {"prompt": "x", "preset": "i"}, "preset"
        )
        await typing.acknowledged
        assert [choice["value"] for choice in typing.choices] == ["ink"]
        refused = await use(room, "alice", "imagine", prompt="a cat --sede 7", preset="ink")
        assert "--seed 7 --preset ink" in refused.content


async def test_a_picture_is_where_painting_starts(room: Room) -> None:
    async with room.bot() as app:
        upload = await attach(room, "alice", png())
        ix = await begin(room, "alice", "imagine", prompt="a cat --iw 2", image=upload)
        params = await painted(room, ix)
        assert params.strength == 0.5
        assert params.init_image is not None
        data = await app.services.store.read_file(params.init_image)
        kept = Image.open(io.BytesIO(data))
        # It is cut to the shape that is painted, not squeezed: only the middle is left.
        assert kept.size == (params.width, params.height) == (64, 64)
        assert kept.getpixel((8, 32)) == (0, 0, 255)
        job = (await jobs_of(room))[0]
        assert details_of(job)["iw"] == 2.0


async def test_a_mended_prompt_keeps_its_picture(room: Room) -> None:
    async with room.bot():
        upload = await attach(room, "alice", png())
        refused = await use(room, "alice", "imagine", prompt="a cat --strenght 0.6", image=upload)
        params = await painted(room, await press(room, "alice", refused, "v1:fix:"))
        assert params.init_image is not None
        assert params.strength == 0.6


async def test_several_prompts_may_start_from_one_picture(room: Room) -> None:
    async with room.bot(FEW):
        upload = await attach(room, "alice", png())
        question = await use(room, "alice", "imagine", prompt="a cat --ar {1:1, 3:2}", image=upload)
        await press(room, "alice", question, "v1:perm:")
        await many(room, 2)
        assert len({params.init_image for params in room.engine.submitted}) == 2


@pytest.mark.parametrize("data", [b"GIF89a no picture", png()[:60]])
async def test_a_file_that_is_no_picture_gets_a_sentence(room: Room, data: bytes) -> None:
    async with room.bot():
        upload = await attach(room, "alice", data)
        refused = await use(room, "alice", "imagine", prompt="a cat", image=upload)
        assert refused.ephemeral
        assert await jobs_of(room) == []


async def test_a_lora_that_is_not_there_is_refused_with_the_nearest(room: Room) -> None:
    # It brings torch, which a running bot has loaded long before anybody types.
    import_module("diffusion.addons")
    folder = room.folder / "loras"
    folder.mkdir()
    for name in ("ink-line", "ink-wash"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    toml = QUICK + "[models.emoji]\npath = 'emoji'\nloras = 'loras'\n"
    async with room.bot(toml):
        refused = await ask(room, "a cat <lora:ink:0.8>")
        assert "There is no LoRA “ink”" in refused.content
        assert label(refused, "v1:fix:") in {"ink-line", "ink-wash"}
        assert len(refused.custom_ids) == 2
        params = await painted(room, await press(room, "alice", refused, "v1:fix:"))
        assert params.prompt == f"a cat <lora:{label(refused, 'v1:fix:')}:0.8>"
