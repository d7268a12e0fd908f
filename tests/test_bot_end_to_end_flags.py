"""Every flag through real sockets: what is painted, or what the person is told instead."""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image

from bot.playground import InteractionState, MessageRecord
from bot.prompt import FLAGS
from diffusion import Params
from tests.asking import attach, begin
from tests.bot_room import QUICK, Room, open_room, results
from tests.fakes import colour

SETTINGS = (
    QUICK
    + """
[defaults]
house_style = "best of all"
[models.emoji]
path = "emoji"
names = ["niji", "niji-6"]
[presets.sticker]
prompt = "{prompt}, as a sticker"
negative = "shadow"
"""
)
Check = Callable[[Params], bool]

# The fake model paints 64 x 64 in 4 steps at guidance 4.
PAINTED: dict[str, tuple[str, Check]] = {
    "ar": ("--ar 3:2", lambda one: one.width > one.height),
    "no": ("--no text, frame", lambda one: one.negative_prompt == "text, frame"),
    "seed": ("--seed 0", lambda one: one.seed == 0),
    "sameseed": ("--sameseed", lambda one: one.same_seed),
    "chaos": ("--chaos 80", lambda one: one.chaos == 80),
    "stylize": ("--stylize 250", lambda one: "(best of all:2.5)" in one.prompt),
    "style": ("--style raw", lambda one: one.prompt == "a red heart"),
    "raw": ("--raw", lambda one: one.prompt == "a red heart"),
    "preset": (
        "--preset sticker",
        lambda one: "as a sticker" in one.prompt and one.negative_prompt == "shadow",
    ),
    "quality": ("--q 2", lambda one: one.steps == 8),
    "stop": ("--stop 50", lambda one: one.stop == 50),
    "tile": ("--tile", lambda one: one.tile),
    "model": ("--model emoji", lambda one: one.model == "emoji"),
    "niji": ("--niji 6", lambda one: one.model == "emoji"),
    "hires": ("--hires 1.5", lambda one: one.hires == 1.5),
    "sampler": (
        '--sampler "DPM++ 2M Karras"',
        lambda one: (one.sampler, one.schedule) == ("dpmpp_2m", "karras"),
    ),
    "schedule": ("--schedule exponential", lambda one: one.schedule == "exponential"),
    "steps": ("--steps 7", lambda one: one.steps == 7),
    "cfg": ("--cfg 7.5", lambda one: one.guidance_scale == 7.5),
    "clip": ("--clip 2", lambda one: one.clip_skip == 1),
    "vae": ("--vae auto", lambda one: one.prompt.startswith("a red heart")),
}
SHARES = {"draft": "draft", "fast": "fast", "relax": "relax", "turbo": "fast"}
TOLD: dict[str, tuple[str, str]] = {
    "iw": ("--iw 2", "picture"),
    "strength": ("--strength 0.6", "picture"),
    "sref": ("--sref #0abc1def2ghij", "--sref"),
    "sw": ("--sw 200", "--sw"),
    "cref": ("--cref #0abc1def2ghij", "--cref"),
    "cw": ("--cw 50", "--cw"),
    "weird": ("--weird 20", "--weird"),
}
# What a flag of these does to a job's message or to how many jobs there are has its own test.
APART = {"repeat", "video"}


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def is_ping(message: MessageRecord) -> bool:
    # A job's id has 13 signs; a progress message of its own ends on another letter.
    return len(message.nonce or "") == 14 and (message.nonce or "").endswith("m")


def test_every_flag_is_here() -> None:
    tried = PAINTED.keys() | SHARES.keys() | TOLD.keys() | APART
    assert tried == {flag.name for flag in FLAGS}


@pytest.mark.parametrize("flag", PAINTED)
async def test_a_flag_is_painted(room: Room, flag: str) -> None:
    typed, check = PAINTED[flag]
    async with room.bot(SETTINGS):
        grid = await room.grid("alice", f"a red heart {typed}")
        (params,) = room.engine.submitted
        assert check(params), params
        assert f"a red heart {typed}" in grid.content
        assert "best of all" in params.prompt or flag in ("style", "raw")


@pytest.mark.parametrize("flag", SHARES)
async def test_a_class_reaches_the_device(room: Room, flag: str) -> None:
    async with room.bot(SETTINGS):
        await room.grid("alice", f"a red heart --{flag}")
        assert room.engine.shares == [SHARES[flag]]
        assert room.engine.submitted[0].steps == (2 if flag == "draft" else 4)


@pytest.mark.parametrize("flag", TOLD)
async def test_what_cannot_be_done_is_said(room: Room, flag: str) -> None:
    typed, part = TOLD[flag]
    async with room.bot(SETTINGS):
        ix = await room.pg.slash("alice", "imagine", {"prompt": f"a red heart {typed}"})
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        told = room.answer(ix)
        assert told.ephemeral
        assert part in told.content
        assert "^" in told.content
        assert not room.engine.submitted


async def test_repeat_makes_several_grids_of_one_prompt(room: Room) -> None:
    async with room.bot(SETTINGS) as app:
        await room.grid("alice", "a red heart --repeat 3 --seed 5")
        await room.pg.wait(lambda ledger: len(results(ledger)) == 3, timeout=8)
        await room.settled(app)
        assert sorted(one.seed for one in room.engine.submitted) == [5, 9, 13]
        told = [each for each in room.pg.ledger.messages.values() if is_ping(each)]
        (ping,) = told
        assert "all pictures of this prompt are ready" in ping.content
        for grid in results(room.pg.ledger):
            assert f"/{grid.id}" in ping.content


async def test_video_comes_beside_the_grid(room: Room) -> None:
    async with room.bot(SETTINGS):
        grid = await room.grid("alice", "a red heart --video --seed 3")
        names = [str(each["filename"]) for each in grid.attachments]
        assert names[0].endswith(".png")
        assert names[1].endswith("-film.webp")
        film = Image.open(io.BytesIO(await room.pg.read_attachment(grid.attachments[1])))
        assert film.n_frames > 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("typed", "strength"), [("--iw 2", 0.5), ("--strength 0.6", 0.6)])
async def test_a_picture_in_the_prompt(room: Room, typed: str, strength: float) -> None:
    async with room.bot(SETTINGS):
        data = io.BytesIO()
        Image.new("RGB", (90, 60), colour(1)).save(data, "PNG")
        image = await attach(room, "alice", data.getvalue())
        ix = await begin(room, "alice", "imagine", prompt=f"a red heart {typed}", image=image)
        await room.result_of(ix)
        (params,) = room.engine.submitted
        assert params.strength == strength
        (source,) = room.engine.sources
        assert source is not None
        assert source.getpixel((5, 5)) == colour(1)


async def test_a_group_is_told_of_once_though_one_of_it_is_cancelled(room: Room) -> None:
    async with room.bot(SETTINGS) as app:
        gate = room.engine.hold(2)
        ix = await room.imagine("alice", "a red heart --repeat 2 --seed 5")
        await gate.reached.wait()
        await room.press("alice", room.answer(ix), "cancel")
        gate.open.set()
        await room.pg.wait(lambda ledger: len(results(ledger)) == 1, timeout=8)
        await room.settled(app)
        told = [each for each in room.pg.ledger.messages.values() if is_ping(each)]
        (ping,) = told
        assert ping.content.count("https://") == 1
