"""New jobs from old ones, and pictures to files: what is carried over, and that pixels stay."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from PIL import Image

from bot import jobs
from bot.jobs import Asked
from diffusion import Params, Step
from diffusion.pictures import encode_png, read_parameters
from diffusion.provenance import Provenance
from storage import Job, JobKind, JobState, NewJob, NewPicture
from tests.fakes import model_info

WHO = Asked(requester_id=5, guild_id=6, channel_id=7, interaction_id=8, locale="ja")
PARAMS = Params(
    prompt="a fox",
    negative_prompt="text",
    seed=2**32 - 2,
    steps=9,
    guidance_scale=3.0,
    width=64,
    height=48,
    stop=80,
    tile=True,
)
INFO = model_info()


def job(
    kind: JobKind = JobKind.IMAGINE,
    *,
    params: Params = PARAMS,
    parent: str = "",
    details: str = "{}",
) -> Job:
    """Make the row of a job that is being painted."""
    new = NewJob(
        kind=kind,
        params=params.to_json(),
        prompt=params.prompt,
        images=params.images,
        model=params.model,
        requester_id=1,
        guild_id=2,
        channel_id=3,
        interaction_id=4,
        parent_id=parent or None,
        parent_index=2 if parent else None,
        details=details,
    )
    return Job(
        **{name: getattr(new, name) for name in NewJob.__dataclass_fields__},
        id="abcdefghijklm",
        state=JobState.RUNNING,
        attempt=1,
        crashes=0,
        progress_channel_id=None,
        progress_message_id=None,
        post_message_id=None,
        post_nonce=None,
        post_started_at=None,
        post_nonce_at=None,
        error_code=None,
        error_text=None,
        created_at=datetime(2026, 8, 1, tzinfo=UTC),
        claimed_at=None,
        rendered_at=None,
        posted_at=None,
        deleted_at=None,
        device_seconds=None,
    )


def noise(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Make a picture in which every pixel differs from its neighbours."""
    picture = Image.effect_noise(size, 90)
    return Image.merge("RGB", [picture, picture.rotate(180), picture.point(lambda v: v // number)])


def opened(picture: NewPicture) -> Image.Image:
    with Image.open(io.BytesIO(picture.data)) as found:
        return found.convert("RGB")


def test_everything_of_the_asker_is_kept() -> None:
    new = jobs.imagine_job(PARAMS, WHO, prompt="as typed", repeat_index=3)
    assert new.prompt == "as typed"
    assert (new.kind, new.repeat_index, new.locale) == (JobKind.IMAGINE, 3, "ja")
    assert (new.requester_id, new.guild_id, new.channel_id, new.interaction_id) == (5, 6, 7, 8)
    assert Params.from_json(new.params) == PARAMS


def test_a_reroll_changes_the_seed_alone() -> None:
    new = jobs.reroll_job(job(), WHO, seed=11)
    assert Params.from_json(new.params) == replace(PARAMS, seed=11)
    assert (new.kind, new.parent_id, new.requester_id) == (JobKind.REROLL, "abcdefghijklm", 5)


def test_a_reroll_of_a_part_makes_the_same_part_again() -> None:
    params = replace(PARAMS, init_image="ab" * 32, mask="cd" * 32, strength=0.9)
    row = job(JobKind.ZOOM, params=params, parent="zyxwvutsrqpon", details='{"factor": 2}')
    new = jobs.reroll_job(row, WHO, seed=11)
    assert Params.from_json(new.params) == replace(params, seed=11)
    assert (new.kind, new.parent_id, new.parent_index) == (JobKind.ZOOM, "zyxwvutsrqpon", 2)
    assert jobs.details_of(new) == {"factor": 2}
    assert new.sources == ("ab" * 32, "cd" * 32)


def test_a_draft_carries_what_the_specification_says_and_nothing_else() -> None:
    params = replace(
        PARAMS,
        init_image="ab" * 32,
        mask="cd" * 32,
        strength=0.9,
        chaos=50,
        same_seed=True,
        variation_seed=4,
        variation_strength=0.5,
    )
    details = '{"quality": 0.5, "video": true, "factor": 2, "share": "relax"}'
    draft = jobs.draft_of(job(JobKind.ZOOM, params=params, details=details))
    kept = draft.params
    carried = (kept.width, kept.height, kept.negative_prompt, kept.stop, kept.tile)
    assert carried == (64, 48, "text", 80, True)
    assert (kept.chaos, kept.same_seed, kept.variation_seed, kept.mask) == (0, False, None, None)
    assert kept.steps == 18
    assert draft.details == {"video": True, "share": "relax"}


def test_a_draft_of_an_enlarged_picture_has_the_size_it_was_painted_in() -> None:
    params = replace(PARAMS, width=128, height=96, images=1)
    row = job(JobKind.ENLARGE, params=params, details='{"size": [64, 48]}')
    kept = jobs.draft_of(row).params
    assert (kept.width, kept.height) == (64, 48)


def test_a_job_that_goes_on_differs_in_its_stop_alone() -> None:
    new = jobs.continue_job(job(), WHO)
    assert Params.from_json(new.params) == replace(PARAMS, stop=100)
    assert (new.kind, new.parent_id, new.parent_index) == (
        JobKind.CONTINUE,
        "abcdefghijklm",
        None,
    )


def test_pictures_that_start_from_one_noise_keep_it_alone() -> None:
    params = replace(PARAMS, seed=9, same_seed=True, chaos=20)
    new = jobs.upscale_job(job(params=params), WHO, index=3)
    one = Params.from_json(new.params)
    assert (one.seed, one.same_seed, one.chaos) == (9, False, 0)


def test_kept_pictures_are_stored_under_their_own_numbers() -> None:
    made = jobs.encode_grid(job(), PARAMS, [noise(1), noise(2)], INFO, images=[1, 3])
    assert [each.index for each in made] == [0, 2, 4]
    assert (made[0].width, made[0].height) == (2 * 64 * 4, 48 * 4)
    # The seeds of a grid wrap around at 2**32.
    assert f"Seed: {(PARAMS.seed + 3) % 2**32}," in (read_parameters(made[2].data) or "")


def test_what_is_large_anyway_is_not_shown_larger_still() -> None:
    assert jobs.shown(Image.new("RGB", (64, 32)), INFO).size == (256, 128)
    assert jobs.shown(Image.new("RGB", (2000, 1000)), INFO).size == (4000, 2000)
    assert jobs.shown(Image.new("RGB", (4096, 1000)), INFO).size == (4096, 1000)


def test_a_film_is_posted_as_it_is() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "WEBP")
    assert jobs.fitting(job(), out.getvalue(), INFO, limit=1) == (
        "easel-abcdefghijklm.webp",
        out.getvalue(),
    )


def test_a_single_picture_has_the_seed_that_paints_it_alone() -> None:
    new = jobs.upscale_job(job(), WHO, index=4)
    params = Params.from_json(new.params)
    # The seeds of a grid wrap around at 2**32.
    assert (params.seed, params.images, new.images) == (1, 1, 1)
    assert (new.kind, new.parent_index) == (JobKind.UPSCALE, 4)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_grid_and_the_pictures_are_stored(count: int) -> None:
    pictures = [noise(number) for number in range(1, count + 1)]
    params = replace(PARAMS, images=count)
    grid, *tiles = jobs.encode_grid(job(params=params), params, pictures, INFO)
    assert [tile.index for tile in tiles] == list(range(1, count + 1))
    for tile, picture in zip(tiles, pictures, strict=True):
        assert opened(tile).tobytes() == picture.tobytes()
        assert (tile.width, tile.height) == picture.size
    columns, rows = min(count, 2), -(-count // 2)
    assert (grid.index, grid.width, grid.height) == (0, columns * 64 * 4, rows * 48 * 4)


def test_a_picture_alone_has_the_same_pixels_as_in_the_grid() -> None:
    pictures = [noise(number) for number in range(1, 5)]
    grid, *tiles = jobs.encode_grid(job(), PARAMS, pictures, INFO)
    whole = opened(grid)
    for number, tile in enumerate(tiles):
        alone = replace(PARAMS, images=1)
        row = job(JobKind.UPSCALE, params=alone, parent="zyxwvutsrqpon")
        shown, own = jobs.encode_single(row, alone, opened(tile), tile.data, INFO)
        left, top = number % 2 * 256, number // 2 * 192
        assert whole.crop((left, top, left + 256, top + 192)).tobytes() == opened(shown).tobytes()
        assert own.data == tile.data


def test_every_file_says_that_a_machine_made_it() -> None:
    pictures = [noise(number) for number in range(1, 5)]
    for each in jobs.encode_grid(job(), PARAMS, pictures, INFO):
        assert b"trainedAlgorithmicMedia" in each.data
        assert "abcdefghijklm" in (read_parameters(each.data) or "")


def test_a_picture_too_large_for_discord_is_posted_smaller() -> None:
    provenance = Provenance(
        params=PARAMS,
        job_id="abcdefghijklm",
        index=0,
        model_name="emoji",
        model_sha256=None,
        software="Easel",
    )
    data = encode_png(noise(1, (512, 512)), provenance)
    assert jobs.fitting(job(), data, INFO) == ("easel-abcdefghijklm.png", data)
    names = []
    for limit in (len(data) - 1, 60_000, 5_000):
        name, smaller = jobs.fitting(job(), data, INFO, limit=limit)
        assert len(smaller) <= limit
        assert b"trainedAlgorithmicMedia" in smaller
        names.append(name.rpartition(".")[2])
    assert names[0] == "webp"
    assert names[-1] == "jpg"


def test_a_preview_is_about_as_large_as_the_result() -> None:
    step = Step(index=1, total=9, draw_preview=lambda: Image.new("RGB", (32, 24), "red"))
    data = jobs.encode_preview(step, job(), PARAMS, INFO)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width == 512
    assert b"trainedAlgorithmicMedia" in data
    assert len(data) < 100_000
