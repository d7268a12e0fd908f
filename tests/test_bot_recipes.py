"""The recipes alone with a real store: states, films, old pixels, upscalers, what may be seen."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot import jobs
from bot.enlarging import UpscalerError, enlarged
from bot.films import film_of
from bot.recipes import RECIPES, is_express
from diffusion import Params, ParamsError
from storage import JobKind, JobState
from tests.bot_desk import Desk, open_desk
from tests.bot_room import QUICK, Room, open_room
from tests.fakes import model_info
from tests.test_bot_cards import job as row
from tests.test_bot_worker import bench

PARAMS = Params(prompt="a fox", seed=3, steps=4, width=64, height=64)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as opened:
        yield opened


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def test_every_kind_has_a_recipe() -> None:
    assert set(RECIPES) == set(JobKind)


def test_what_needs_no_device_passes_the_queue() -> None:
    assert is_express(row(JobKind.UPSCALE))
    assert is_express(row(JobKind.ENLARGE, details='{"how": "subtle"}'))
    assert not is_express(row(JobKind.ENLARGE, details='{"how": "creative"}'))
    assert not any(
        is_express(row(kind)) for kind in JobKind if kind not in (JobKind.UPSCALE, JobKind.ENLARGE)
    )


async def test_a_job_that_stops_early_keeps_its_state_and_another_goes_on(desk: Desk) -> None:
    async with bench(desk) as at:
        stopped = await at.accept(params=replace(PARAMS, stop=50))
        await at.state(stopped, JobState.POSTED)
        assert await desk.store.state(stopped.id) == b"latents"
        again = await at.accept(kind=JobKind.CONTINUE, params=PARAMS, parent_id=stopped.id)
        await at.state(again, JobState.POSTED)
        assert at.engine.states == [None, b"latents"]
        assert await desk.store.state(again.id) is None


async def test_a_state_that_fits_no_more_is_painted_from_the_beginning(desk: Desk) -> None:
    async with bench(desk) as at:
        stopped = await at.accept(params=replace(PARAMS, stop=50))
        await at.state(stopped, JobState.POSTED)
        at.engine.fail(lambda: ParamsError("state", "7 bytes", "it is damaged"), word="fox")
        again = await at.accept(kind=JobKind.CONTINUE, params=PARAMS, parent_id=stopped.id)
        await at.state(again, JobState.POSTED)
        assert at.engine.states == [None, b"latents", None]


async def test_another_fault_of_the_params_is_no_reason_to_paint_twice(desk: Desk) -> None:
    async with bench(desk) as at:
        stopped = await at.accept(params=replace(PARAMS, stop=50))
        await at.state(stopped, JobState.POSTED)
        at.engine.fail(lambda: ParamsError("steps", 4, "too few"), word="fox")
        again = await at.accept(kind=JobKind.CONTINUE, params=PARAMS, parent_id=stopped.id)
        assert (await at.state(again, JobState.FAILED)).error_code == "engine"


async def test_a_source_that_is_gone_fails_with_its_sentence(desk: Desk) -> None:
    async with bench(desk) as at:
        params = replace(PARAMS, init_image="ab" * 32, mask="cd" * 32, strength=0.9)
        job = await at.accept(kind=JobKind.PAN, params=params)
        assert (await at.state(job, JobState.FAILED)).error_code == "source"


async def test_keep_only_answers_for_jobs_that_run(desk: Desk) -> None:
    async with bench(desk) as at:
        gate = at.engine.hold(2)
        job = await at.accept()
        await gate.reached.wait()
        assert not at.worker.keep("nobody", 0)
        assert not at.worker.keep(job.id, 7)
        assert at.worker.keep(job.id, 1)
        assert not at.worker.keep(job.id, 0)
        assert at.worker.running[job.id].images == (1,)
        gate.open.set()
        await at.state(job, JobState.POSTED)
        assert [each.index for each in await desk.store.pictures(job.id)] == [0, 2]
        assert not at.worker.keep(job.id, 1)


async def test_a_film_is_posted_beside_the_grid(room: Room) -> None:
    async with room.bot():
        grid = await room.grid("alice", "a red heart --video --steps 4")
        names = [each["filename"] for each in grid.attachments]
        job_id = names[0].removeprefix("easel-").removesuffix(".png")
        assert names == [f"easel-{job_id}.png", f"easel-{job_id}-film.webp"]
        film = Image.open(io.BytesIO(await room.pg.read_attachment(grid.attachments[1])))
        assert film.size == (512, 512)
        # Four steps and the finished grid; equal ones are shown as one.
        assert getattr(film, "n_frames", 1) == 2
        assert "Film of pictures" in grid.attachments[1]["description"]
    async with room.bot():
        # Variations take it over, and one picture alone has none.
        varied = await room.result_of(await room.press("alice", grid, "vary", 1))
        assert len(varied.attachments) == 2
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        assert len(single.attachments) == 1


def test_a_film_that_is_too_large_is_made_smaller_or_left_out() -> None:
    frames = [Image.effect_noise((64, 64), 200).convert("RGB") for _ in range(12)]
    job = replace(row(), details='{"limit": 120000}')
    (film,) = film_of(job, PARAMS, frames, None)
    assert len(film.data) <= 120_000
    assert film.width < 512
    assert (film.index, film.media_type) == (jobs.FILM_INDEX, "image/webp")
    assert film_of(replace(row(), details='{"limit": 500}'), PARAMS, frames, None) == []


def test_a_long_film_leaves_frames_out() -> None:
    frames = [Image.new("RGB", (8, 8), (number % 256, number // 256, 0)) for number in range(700)]
    (film,) = film_of(row(), PARAMS, frames, None)
    with Image.open(io.BytesIO(film.data)) as opened:
        assert 50 < getattr(opened, "n_frames", 1) <= 101


@pytest.mark.parametrize(
    ("unsafe", "judged", "seen"),
    [
        ("block", True, False),
        ("spoiler", True, False),
        ("allow", True, True),
        ("block", False, True),
    ],
)
async def test_what_might_be_withheld_is_not_shown_on_the_way(
    room: Room, unsafe: str, judged: bool, seen: bool
) -> None:
    folder = room.folder / "model"
    folder.mkdir()
    if judged:
        (folder / "safety_checker").mkdir()
        room.engine.flagged = (False,) * 4
    models = {"emoji": replace(model_info(), path=str(folder))}
    async with room.bot(QUICK + f'[moderation]\nunsafe = "{unsafe}"\n', models):
        gate = room.engine.hold(3)
        ix = await room.imagine(prompt="a red heart --steps 4")
        shown = await room.shown(ix, lambda found: "step 2/4" in found.content)
        assert bool(shown.attachments) is seen
        gate.open.set()
        await room.result_of(ix)


def test_without_an_upscaler_pictures_are_resampled() -> None:
    picture = Image.effect_noise((16, 8), 90).convert("RGB")
    larger = enlarged(picture, 4, upscaler=None, device="cpu")
    assert larger.size == (64, 32)
    assert larger.tobytes() == picture.resize((64, 32), Image.Resampling.LANCZOS).tobytes()


async def test_an_upscaler_that_cannot_be_used_says_so(room: Room, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(UpscalerError):
        await asyncio.to_thread(
            enlarged, Image.new("RGB", (8, 8)), 2, upscaler=broken, device="cpu"
        )
    async with room.bot(QUICK + f'[upscale]\npath = "{broken}"\n'):
        grid = await room.grid()
        single = await room.result_of(await room.press("alice", grid, "upscale", 1))
        ix = await room.press("alice", single, "up2s")
        told = await room.shown(ix, lambda found: "upscaler of this server" in found.content)
        assert not told.attachments


async def test_an_upscaler_makes_the_picture_larger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Doubling:
        scale = 2

        def upscale(self, picture: Image.Image) -> Image.Image:
            return picture.resize((picture.width * 2, picture.height * 2), 0)

    monkeypatch.setattr("bot.enlarging._loaded", lambda *_: Doubling())
    picture = Image.effect_noise((8, 8), 90).convert("RGB")
    larger = enlarged(picture, 4, upscaler=tmp_path, device="cpu")
    assert larger.tobytes() == picture.resize((32, 32), 0).tobytes()
