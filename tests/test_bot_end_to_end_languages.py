"""A person whose Discord is Japanese reads Japanese, and everybody else what they did before."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.playground import Json, MessageRecord, PlayInteraction
from diffusion import NumericalError
from tests.asking import answer, attach, entries, press, use
from tests.bot_room import QUICK, Room, job_of, open_room
from tests.test_bot_translations import check_payload

JAPANESE = re.compile("[\u3041-\u30ff\u4e00-\u9fff]")
# What people read in any language: what they typed and have typed before them, addresses, names.
SAME = re.compile(
    r"`[^`]*`|<[@#t:][^>]*>|https?://\S+|--[\w-]+|/prefer option set|/[a-z][\w/-]*|\S*\.toml"
    r"|easel\S*|「[^」]*」|\w+=\S*|for good|lift|none|[36]0+ minutes|1 hour|7 days|auto"
    r"|SHA-256|DPM\+\+ 2M|Karras|LoRA|embedding|Midjourney|A1111|image|path|emoji|fake device"
    r"|AND|BREAK|MIT|PNG|JPEG|WebP|VAE|MiB|Raw"
)
WORD = re.compile(r"[A-Za-z]{3,}")


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        opened.pg.set_locale("alice", "ja")
        yield opened


def english_in(text: str) -> list[str]:
    """Return the English words of a text that nobody typed."""
    return WORD.findall(SAME.sub(" ", text.replace("Easel", "")))


def shown_texts(message: MessageRecord) -> Iterator[str]:
    """Yield everything that a message shows: words, embeds, buttons, menus, descriptions."""
    yield message.content
    for embed in message.data.get("embeds", []):
        yield from embed_texts(embed)
    for part in message.components:
        yield from part_texts(part)
    for file in message.attachments:
        yield str(file.get("description") or "")


def embed_texts(embed: Json) -> Iterator[str]:
    yield str(embed.get("title") or "")
    for field in embed.get("fields", []):
        yield str(field["name"])


def part_texts(part: Json) -> Iterator[str]:
    for key in ("label", "placeholder", "description"):
        yield str(part.get(key) or "")
    yield from (str(option["label"]) for option in part.get("options", []))


def check_japanese(message: MessageRecord, *typed: str) -> None:
    """Check that a message has Japanese in it, and English only where somebody typed it."""
    texts = [text for text in shown_texts(message) if text]
    assert any(JAPANESE.search(text) for text in texts), texts
    for text in texts:
        for words in typed:
            text = text.replace(words, "")
        assert not english_in(text), text


async def test_a_wrong_flag_is_explained_and_mended_in_japanese(room: Room) -> None:
    async with room.bot():
        told = await use(room, "alice", "imagine", prompt="a red heart --stepz 4")
        check_japanese(told)
        assert "--stepz というパラメータはありません" in told.content
        ix = await room.press("alice", told, "fix")
        grid = await room.result_of(ix)
        check_japanese(grid, "a red heart")
        assert "AI 生成" in grid.content
        other = await use(room, "bob", "imagine", prompt="a red heart --stepz 4")
        assert not JAPANESE.search(" ".join(shown_texts(other)))


async def test_every_page_of_help_is_japanese(room: Room) -> None:
    async with room.bot():
        message = await use(room, "alice", "help")
        keys = entries(message, "v1:help:")
        assert len(keys) > 5
        for key in keys:
            await press(room, "alice", message, "v1:help:", choose=key)
            texts = [re.sub(r"\*\*[^*]*\*\*", "", text) for text in shown_texts(message)]
            assert JAPANESE.search(texts[0]), key
            # Words of examples are named once more where they are explained.
            left = set(english_in("\n".join(texts))) - {"fox", "cat", "red", "niji", "raw", "seed"}
            assert not left, key


async def test_buttons_answer_the_presser_and_messages_the_requester(room: Room) -> None:
    async with room.bot() as app:
        hers = await room.grid("alice", "a red heart")
        his = await room.grid("bob", "a blue fish")
        assert "AI-generated" in his.content
        labels = [text for part in hers.components for text in part_texts(part) if text]
        assert "情報" in labels
        assert "Info" in [text for part in his.components for text in part_texts(part)]

        single = await room.result_of(await room.press("alice", his, "upscale", 2))
        check_japanese(single, "a blue fish")
        assert f"<@{(await job_of(app, single)).requester_id}> 画像2 · AI 生成" in single.content
        refused = answer(room, await room.press("bob", single, "delete"))
        assert refused.content.startswith("Only the person who asked")
        refused = answer(
            room, await room.press("alice", his_single := await alone(room, his), "delete")
        )
        assert refused.content.startswith("削除することができるのは")
        check_japanese(refused)
        assert "Upscale 2× (Subtle)" in [
            text for part in his_single.components for text in part_texts(part)
        ]


async def alone(room: Room, grid: MessageRecord) -> MessageRecord:
    """Post one picture of bob's grid alone, as he would."""
    return await room.result_of(await room.press("bob", grid, "upscale", 1))


async def test_the_info_card_is_in_the_readers_language(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("bob", "a red heart")
        card = await said(room, await room.press("alice", grid, "info"))
        check_japanese(card)
        assert [embed["title"] for embed in card.data["embeds"]] == ["情報"]
        card = await said(room, await room.press("bob", grid, "info"))
        assert [embed["title"] for embed in card.data["embeds"]] == ["Info"]


async def said(room: Room, ix: PlayInteraction) -> MessageRecord:
    return await room.shown(ix, lambda found: not found.loading)


async def test_progress_and_its_end_are_in_the_requesters_language(room: Room) -> None:
    async with room.bot() as app:
        gate = room.engine.hold(3)
        ix = await room.imagine("alice", "a red heart --steps 4")
        await room.shown(ix, lambda found: found.attachments)
        check_japanese(room.answer(ix), "a red heart --steps 4")
        assert "ステップ 2/4" in room.answer(ix).content
        assert "1 だけ残す" in shown_texts(room.answer(ix))
        await gate.reached.wait()
        await app.stop()
        assert "ボットを再起動しています" in room.answer(ix).content
        check_japanese(room.answer(ix), "a red heart --steps 4")
    gate.open.set()
    async with room.bot() as app:
        # The next run knows the language from the job alone.
        check_japanese(await room.result_of(ix), "a red heart --steps 4")


@pytest.mark.parametrize("who", ["alice", "carol"])
async def test_a_cancelled_job_says_so_to_its_requester(room: Room, who: str) -> None:
    async with room.bot():
        gate = room.engine.hold(2)
        ix = await room.imagine("alice")
        await gate.reached.wait()
        await room.press(who, room.answer(ix), "cancel")
        message = await room.shown(ix, lambda found: not found.custom_ids)
        assert "がキャンセルしました。" in message.content


async def test_a_failed_job_says_why_in_the_requesters_language(room: Room) -> None:
    async with room.bot() as app:
        room.engine.fail(lambda: NumericalError("not finite"), step=2)
        ix = await room.imagine("alice")
        message = await room.shown(ix, lambda found: "画像を計算できませんでした" in found.content)
        check_japanese(message, "a red heart")
        (job,) = await app.services.store.history(limit=5)
        assert job.locale == "ja"


COMMANDS: list[tuple[str, dict[str, object]]] = [
    ("info", {}),
    ("history", {}),
    ("about", {}),
    ("settings", {}),
    ("prefer suffix", {"suffix": "--ar 3:2"}),
    ("prefer suffix", {"suffix": "words"}),
    ("prefer option set", {"name": "mine", "value": "--ar 3:2"}),
    ("prefer option set", {"name": "MI NE", "value": "--ar 3:2"}),
    ("prefer option list", {}),
    ("prefer variability", {}),
    ("prefer auto_dm", {}),
    ("prefer prompt_in_files", {}),
    ("models", {}),
    ("models", {"search": "emoji"}),
    ("loras", {}),
    ("presets", {"search": "zzz"}),
    ("random", {"seed": 7}),
    ("show", {"job": "nothing"}),
    ("lineage", {"job": "nothing"}),
    ("my-data", {}),
    ("forget-me", {}),
    ("grid", {"prompt": "a fox", "x": "steps"}),
    ("morph", {"from": "a fox", "to": "a hat", "through": "b|c|d|e|f|g|h|i", "frames": 3}),
    ("shorten", {"prompt": "a fox --stepz"}),
    ("imagine", {"prompt": "a {red, green} fox"}),
    ("imagine", {"prompt": "a __colour__ fox"}),
]


async def test_commands_answer_in_japanese(room: Room) -> None:
    async with room.bot():
        for command, options in COMMANDS:
            told = await use(room, "alice", command, **options)
            check_japanese(told, "emoji", "Sampler")


ADMIN: list[tuple[str, dict[str, object]]] = [
    ("admin pause", {}),
    ("info", {}),
    ("admin drain", {}),
    ("imagine", {"prompt": "a fox"}),
    ("admin resume", {}),
    ("admin clear", {}),
    ("admin reload", {}),
    ("admin quota", {"user": "bob", "seconds": "600"}),
    ("admin quota", {"user": "bob", "seconds": "much"}),
    ("admin quota", {"user": "bob", "seconds": "なし"}),
    ("admin ban", {"user": "bob", "time": "whenever"}),
    ("admin ban", {"user": "bob", "time": "1 hour"}),
    ("admin ban", {"user": "bob"}),
    ("admin ban", {"user": "bob", "time": "解除"}),
]


async def test_admins_keep_order_in_japanese(room: Room) -> None:
    room.pg.set_locale("carol", "ja")
    async with room.bot():
        for command, options in ADMIN:
            named = {
                key: str(room.pg.people[str(value)].id) if key == "user" else value
                for key, value in options.items()
            }
            told = await use(room, "carol", command, **named)
            check_japanese(told)
        assert "利用停止を解除しました" in told.content
        offered = await room.pg.autocomplete("carol", "admin ban", {"time": "7"}, "time")
        await offered.acknowledged
        assert [(each["name"], each["value"]) for each in offered.choices] == [("7日", "7 days")]


async def test_a_report_is_written_in_the_servers_language(room: Room) -> None:
    notices = room.pg.channels["gallery"]
    room.pg.set_guild_locale("ja")
    async with room.bot(f"{QUICK}[moderation]\nreport_channel = {notices}\n"):
        single = await alone(room, await room.grid("bob", "a red heart"))
        thanks = await said(room, await room.press("alice", single, "report"))
        check_japanese(thanks)
        report = await room.find(
            lambda ledger: next(
                (one for one in ledger.messages.values() if one.channel_id == notices), None
            )
        )
        check_japanese(report)
        assert "通報" in report.content


async def test_what_a_reaction_sends_is_in_the_jobs_language(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("alice", "a red heart")
        await room.pg.react("alice", grid.id, "✉️")
        letters = room.pg.direct_messages("alice")
        letter = await room.find(
            lambda ledger: next(
                (one for one in ledger.messages.values() if one.channel_id == letters), None
            )
        )
        assert "シード" in letter.content
        check_japanese(letter, "a red heart")


async def test_a_file_that_is_no_picture_is_refused_in_japanese(room: Room) -> None:
    async with room.bot():
        for command in ("verify", "show", "imagine", "describe"):
            options: dict[str, object] = {"image": await attach(room, "alice", b"no picture")}
            if command == "imagine":
                options["prompt"] = "a fox"
            told = await use(room, "alice", command, **options)
            check_japanese(told)
            assert "PNG・JPEG・WebP の画像ではありません。" in told.content


async def test_an_admin_who_clears_the_queue_tells_each_in_their_language(room: Room) -> None:
    async with room.bot(f"{QUICK}[queue]\nmax_running = 1\n"):
        gate = room.engine.hold(1)
        await room.imagine("carol")
        await gate.reached.wait()
        hers = await room.imagine("alice", "a fox")
        his = await room.imagine("bob", "a hat")
        await use(room, "carol", "admin clear")
        await room.shown(hers, lambda found: "がキューを消去したため" in found.content)
        await room.shown(his, lambda found: "who cleared the queue" in found.content)
        gate.open.set()


async def test_discord_is_told_the_names_and_modals_open_in_japanese(room: Room) -> None:
    async with room.bot():
        (synced,) = room.pg.world.commands.values()
        for command in synced:
            if command.get("type", 1) == 1:
                check_payload(command, "ja")
        grid = await room.grid("alice", "a red heart")
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        for action in ("remix", "region", "zoomc"):
            ix = await room.press("alice", single, action, 1)
            assert ix.modal is not None
            texts = [str(ix.modal["title"]), *modal_texts(ix.modal["components"])]
            assert all(JAPANESE.search(text) for text in texts if text), texts


def modal_texts(components: list[Json]) -> Iterator[str]:
    for part in components:
        yield from part_texts(part)
        if "component" in part:
            yield from part_texts(part["component"])
