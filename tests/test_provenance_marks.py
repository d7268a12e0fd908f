"""Every picture that leaves says that a machine made it, to a reader that is not ours."""

import ast
import io
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot import jobs
from bot.films import film_of
from bot.playground.cdn import Cdn, Upload
from bot.preferences import Name
from bot.sheets import lay_out
from diffusion import Params, Step
from diffusion.pictures import encode_png
from diffusion.provenance import parse_parameters
from storage import Job, JobKind, Scope
from tests.asking import attach, begin, use
from tests.bot_room import Room, open_room
from tests.fakes import model_info
from tests.marks import MADE_BY_A_MACHINE, Marks, read_marks
from tests.test_bot_jobs import job as some_job
from tests.test_bot_jobs import noise

ROOT = Path(__file__).parent.parent
INFO = model_info()
REQUESTER = 424_242_424_242
WORDS = (
    "a red fox",
    "東京の夜 ネオン",
    "Negative prompt: none\nSteps: 3, Seed: 1, Job: x",
    'quotes " and \\ and <xml/> & entities',
    "😀 family 👨‍👩‍👧",
    "x" * 1500,
    "ligature ﬁ, e\u0301, \u202eright to left",
)


def outputs(chance: random.Random) -> Iterator[tuple[str, Job, str, bytes]]:
    """Make one file of every way a picture can leave: how, its job, its prompt and the bytes."""
    side, images = chance.choice((8, 16, 24)), chance.choice((1, 2, 4))
    words = chance.choice(WORDS) + f" {chance.randrange(10**6)}"
    params = Params(
        prompt=words,
        negative_prompt=chance.choice(("", "blurry")),
        seed=chance.randrange(2**32),
        width=side,
        height=chance.choice((8, 16)),
        images=images,
        steps=chance.choice((1, 20)),
        chaos=chance.choice((0, 40)),
        morph=chance.choice(((), ("a fish",) * (images - 1))),
    )
    kind = chance.choice((JobKind.IMAGINE, JobKind.UPSCALE, JobKind.ENLARGE, JobKind.MORPH))
    details = '{"words": true}' if chance.random() < 0.5 else "{}"
    row = some_job(kind, params=params, details=details)
    row = replace(row, requester_id=REQUESTER)
    tiles = [noise(chance.randrange(10**6), (side, params.height)) for _ in range(images)]
    files = jobs.encode_grid(row, params, tiles, INFO)
    for each in files:
        yield ("grid" if each.index == 0 else "tile"), row, words, each.data
    single = jobs.encode_single(row, jobs.alone(params, 1), tiles[0], None, INFO)
    yield "single", row, words, single[0].data
    whole = files[0].data
    for limit in (len(whole) - 1, len(whole) // 2, len(whole) // 8):
        name, smaller = jobs.fitting(row, whole, INFO, limit=limit)
        yield name.rpartition(".")[2], row, words, smaller
    (film,) = film_of(row, params, [*tiles, tiles[0]], INFO)
    yield "film", row, words, film.data
    sheet = lay_out(tiles[:1], across=["steps 1"], down=[""])
    yield "sheet", row, words, encode_png(sheet, jobs.provenance_of(row, 0, params, INFO))
    step = Step(index=1, total=2, draw_preview=lambda: tiles[0])
    yield "preview", row, words, jobs.encode_preview(step, row, params, INFO)
    kept = [(row, each.data) for each in files[1:]]
    yield "contact sheet", row, words, jobs.encode_contact_sheet(kept, {"emoji": INFO})


def check(data: bytes, *, job_id: str) -> Marks:
    """See that a file is marked, and says which job of ours it is of."""
    marks = read_marks(data)
    assert marks.source_type == MADE_BY_A_MACHINE
    assert marks.texts["Software"].startswith("Easel")
    settings = parse_parameters(marks.texts["parameters"]).settings
    assert settings["Job"] == job_id
    assert settings["Version"] == marks.texts["Software"]
    return marks


@pytest.mark.parametrize(
    "count", [400, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_every_output_is_marked_for_any_reader(count: int) -> None:
    chance, seen, told, number = random.Random(count), set[str](), set[bool](), 0  # noqa: S311
    while number < count:
        for how, row, words, data in outputs(chance):
            marks = check(data, job_id=row.id)
            text = marks.texts["parameters"]
            wants = row.details != "{}"
            assert (parse_parameters(text).prompt == words) is wants, how
            assert wants or (words not in text and "a fish" not in text), how
            assert wants or "blurry" not in text, how
            assert str(REQUESTER) not in f"{marks}"
            assert str(REQUESTER).encode() not in data
            seen.add(how)
            told.add(wants)
            number += 1
    expected = {"grid", "tile", "single", "film", "sheet", "preview", "contact sheet", "jpg"}
    assert expected <= seen
    assert told == {True, False}


def test_the_ladder_of_sizes_passes_webp() -> None:
    params = Params(prompt="x", width=64, height=64, images=1)
    row = some_job(params=params)
    whole = Image.linear_gradient("L").resize((512, 512)).convert("RGB")
    data = encode_png(whole, jobs.provenance_of(row, 0, params, INFO))
    name, smaller = jobs.fitting(row, data, INFO, limit=len(data) - 1)
    assert name.endswith(".webp")
    assert check(smaller, job_id=row.id).kind == "WEBP"


def test_the_reader_believes_nothing_that_is_not_there() -> None:
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    assert read_marks(plain.getvalue()) == Marks("PNG")
    for kind in ("JPEG", "WEBP"):
        bare = io.BytesIO()
        Image.new("RGB", (8, 8)).save(bare, kind)
        assert read_marks(bare.getvalue()) == Marks(kind)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


OWN = "mine.png"


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Upload, str | None]]:
    """Note every file that the bot hands to Discord, even if an edit replaces it at once."""
    seen: list[tuple[Upload, str | None]] = []
    store = Cdn.store

    async def noted(
        self: Cdn, upload: Upload, channel_id: int, description: str | None = None
    ) -> object:
        if upload.filename != OWN:
            seen.append((upload, description))
        return await store(self, upload, channel_id, description)

    monkeypatch.setattr(Cdn, "store", noted)
    return seen


async def test_whatever_the_bot_sends_is_marked(
    room: Room, uploads: list[tuple[Upload, str | None]]
) -> None:
    async with room.bot() as app:
        store, alice = app.services.store, room.pg.people["alice"].id
        await store.people.set_preference(Scope.USER, alice, Name.DM, True)
        grid = await room.grid("alice", "a needle in hay --video --seed 3")
        single = await room.result_of(await room.press("bob", grid, "upscale", 1))
        await room.result_of(await room.press("bob", single, "up2s"))
        for action in ("zoom2", "panl", "vsub"):
            await room.result_of(await room.press("bob", single, action))
        await room.result_of(await room.press("bob", grid, "vary", 2))
        await room.result_of(await room.press("bob", grid, "reroll"))
        first = await attach(room, "alice", await room.pg.read_attachment(grid.attachments[0]), OWN)
        second = await attach(
            room, "alice", await room.pg.read_attachment(single.attachments[0]), OWN
        )
        blend = {"image1": first, "image2": second}
        await room.result_of(await begin(room, "alice", "blend", **blend))
        ways = {"from": "a needle", "to": "a fish", "frames": 5}
        await room.result_of(await begin(room, "alice", "morph", **ways))
        axes = {"prompt": "a needle", "x": "steps=2,3"}
        await room.result_of(await begin(room, "alice", "grid", **axes))
        await use(room, "alice", "history")
        await room.settled(app)
        before = len(uploads)
        await room.pg.react("alice", single.id, "✉️")
        await room.pg.wait(lambda _: len(uploads) > before)
    names = {each.filename.rpartition(".")[2] for each, _ in uploads}
    assert names == {"png", "jpg", "webp"}
    assert len(uploads) >= 16
    known = {job.id for job in await _jobs(room)}
    for upload, alt in uploads:
        job_id = parse_parameters(read_marks(upload.data).texts["parameters"]).settings["Job"]
        assert job_id in known, upload.filename
        marks = check(upload.data, job_id=job_id)
        # Nobody asked for the prompt in the file.
        assert "needle" not in f"{marks}", upload.filename
        assert b"needle" not in upload.data
        assert alt is not None, upload.filename
    for message in room.pg.ledger.messages.values():
        if message.attachments and message.attachments[0]["filename"] != OWN:
            told = message.content + str(message.attachments[0].get("description"))
            assert "AI-generated" in told, message.content


async def _jobs(room: Room) -> list[Job]:
    from storage import Store
    from tests.chaos.bots import whole_table

    async with await Store.open(room.folder / "data") as store:
        return await whole_table(store)


async def test_who_wants_the_prompt_in_the_file_has_it_there(room: Room) -> None:
    async with room.bot():
        assert "on" in (await use(room, "alice", "prefer prompt_in_files")).content
        grid = await room.grid("alice", "a red heart --no needles")
        marks = read_marks(await room.pg.read_attachment(grid.attachments[0]))
        assert marks.texts["parameters"].startswith("a red heart\nNegative prompt: needles\nSteps")
        # It is each one's own choice, also for pictures made of hers.
        again = await room.result_of(await room.press("bob", grid, "reroll"))
        other = read_marks(await room.pg.read_attachment(again.attachments[0]))
        assert "red heart" not in other.texts["parameters"]


# Where bytes become files of a message, and why their pictures are marked.
EXITS = {
    "bot/talk.py": "what `letter_of` and `encode_preview` made",
    "bot/history_pages.py": "what `encode_contact_sheet` made",
    "bot/commands/show.py": "what `fitting` made",
    "bot/commands/my_data.py": "stored files, marked when they were made, for their owner",
    "bot/list_pages.py": "pictures that the admin laid beside a LoRA; painted elsewhere",
}


def test_files_leave_by_known_ways_only_and_are_encoded_in_one_place() -> None:
    exits, encoders = set(), set()
    for path in sorted((ROOT / "bot").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.startswith(("bot/playground", "bot/training")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.endswith("discord.File"):
                exits.add(name)
            if called.endswith((".save", ".tobytes")) or called in ("open", "imencode"):
                encoders.add((name, called))
    assert exits == set(EXITS)
    # One is kept to paint from and never shown, the other compares pixels.
    assert encoders == {
        ("bot/jobs.py", "picture.save"),
        ("bot/origins.py", "one.tobytes"),
        ("bot/origins.py", "other.tobytes"),
    }
