"""Rows of buttons: complete, in order, within Discord's limits, and readable after years."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.cards import (
    custom_id,
    info_embed,
    under_list,
    under_progress,
    under_question,
    under_result,
    under_running,
    under_single,
)
from bot.permissions import Action
from bot.texts import Field
from diffusion import Params
from storage import Job, JobKind, JobState

ID = "abcdefghijklm"


def job(
    kind: JobKind = JobKind.IMAGINE, images: int = 4, *, width: int = 64, details: str = "{}"
) -> Job:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    nothing: dict[str, Any] = dict.fromkeys(
        (
            "progress_channel_id",
            "progress_message_id",
            "post_message_id",
            "post_nonce",
            "post_started_at",
            "post_nonce_at",
            "error_code",
            "error_text",
            "claimed_at",
            "rendered_at",
            "posted_at",
            "deleted_at",
            "device_seconds",
        )
    )
    return Job(
        id=ID,
        state=JobState.POSTED,
        attempt=1,
        crashes=0,
        kind=kind,
        params=Params(prompt="a fox", images=images, width=width, height=64).to_json(),
        details=details,
        prompt="a fox",
        images=images,
        model="emoji",
        requester_id=1,
        guild_id=2,
        channel_id=3,
        interaction_id=4,
        created_at=now,
        **nothing,
    )


def labels(view: Any) -> list[list[str]]:  # noqa: ANN401
    return [
        [each.get("label") or each["emoji"]["name"] for each in row["components"]]
        for row in view.to_components()
    ]


def ids(view: Any) -> list[str]:  # noqa: ANN401
    return [each["custom_id"] for row in view.to_components() for each in row["components"]]


def test_a_custom_id_is_readable() -> None:
    assert custom_id(Action.UPSCALE, ID, 2) == f"v1:upscale:{ID}:2"
    assert max(len(custom_id(action, ID, 2**63)) for action in Action) <= 100


def test_a_grid_has_two_full_rows() -> None:
    assert labels(under_result(job())) == [
        ["U1", "U2", "U3", "U4", "🔄"],
        ["V1", "V2", "V3", "V4", "Info"],
    ]


def test_a_grid_that_lost_pictures_has_buttons_for_the_others_under_their_numbers() -> None:
    view = under_result(job(), [2, 4])
    assert labels(view) == [["U2", "U4", "🔄"], ["V2", "V4", "Info"]]
    assert f"v1:upscale:{ID}:4" in ids(view)


def test_a_job_that_was_stopped_early_can_go_on() -> None:
    view = under_result(job(), can_continue=True)
    assert labels(view)[2] == ["Continue"]
    single = under_result(job(images=1), can_continue=True)
    assert "Continue" in labels(single)[0]


def test_a_single_picture_has_everything() -> None:
    view = under_single(job(JobKind.UPSCALE, images=1))
    assert labels(view) == [
        ["Upscale 2× (Subtle)", "Upscale 2× (Creative)", "Upscale 4×"],
        ["Vary (Subtle)", "Vary (Strong)", "Vary (Region)"],
        ["Zoom out 1.5×", "Zoom out 2×", "Custom zoom"],
        ["⬅️", "➡️", "⬆️", "⬇️"],
        ["❤️", "Info", "Remix", "Report", "🗑️"],
    ]
    assert len(set(ids(view))) == 18


def test_a_picture_that_is_not_square_can_be_made_square() -> None:
    assert labels(under_single(job(images=1, width=96)))[2][-1] == "Make square"


def test_a_picture_that_was_painted_alone_can_be_painted_again() -> None:
    assert labels(under_single(job(images=1)))[3][-1] == "🔄"
    creative = job(JobKind.ENLARGE, images=1, details='{"how": "creative"}')
    assert labels(under_single(creative))[3][-1] == "🔄"
    subtle = job(JobKind.ENLARGE, images=1, details='{"how": "subtle"}')
    assert labels(under_single(subtle))[3][-1] == "⬇️"


def test_the_one_picture_that_was_kept_keeps_its_number() -> None:
    view = under_result(job(), [3])
    assert f"v1:up2s:{ID}:3" in ids(view)
    assert f"v1:vsub:{ID}:3" in ids(view)
    assert f"v1:info:{ID}:0" in ids(view)


@pytest.mark.parametrize("kind", JobKind)
@pytest.mark.parametrize("images", [1, 2, 4])
def test_every_result_fits_discords_rows(kind: JobKind, images: int) -> None:
    view = under_result(job(kind, images=images, width=96), can_continue=True)
    rows = labels(view)
    assert 1 <= len(rows) <= 5
    assert all(1 <= len(row) <= 5 for row in rows)
    assert f"v1:info:{ID}:0" in ids(view)


@pytest.mark.parametrize("kind", [JobKind.MORPH, JobKind.GRID])
def test_a_sheet_has_no_single_pictures(kind: JobKind) -> None:
    assert labels(under_result(job(kind))) == [["🔄", "❤️", "Info", "Report", "🗑️"]]
    assert labels(under_running(job(kind), (0, 1, 2, 3))) == [["Cancel"]]


def test_while_it_is_painted_single_pictures_can_be_kept() -> None:
    assert labels(under_running(job(), (0, 1, 2, 3))) == [
        ["Cancel"],
        ["Keep only 1", "Keep only 2", "Keep only 3", "Keep only 4"],
    ]
    assert labels(under_running(job(), (2,))) == [["Cancel"]]
    assert labels(under_running(job(), ())) == [["Cancel"]]


async def test_views_are_not_kept_by_the_client() -> None:
    for view in (under_result(job()), under_progress(job()), under_question(job(), 7)):
        assert view.is_finished()


def test_the_question_names_the_message() -> None:
    assert ids(under_question(job(), 77)) == [f"v1:yes:{ID}:77"]


def test_a_list_holds_at_most_five_rows_of_five() -> None:
    rows = labels(under_list([job()] * 40))
    assert [len(row) for row in rows] == [5] * 5


def test_the_card_keeps_names_values_and_places() -> None:
    embed = info_embed(
        (Field(name="Seed", value="7"), Field(name="Prompt", value="x", inline=False))
    )
    assert [(each.name, each.value, each.inline) for each in embed.fields] == [
        ("Seed", "7", True),
        ("Prompt", "x", False),
    ]
