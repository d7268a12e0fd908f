"""Rows of buttons: complete, in order, within Discord's limits, and readable after years."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.cards import (
    custom_id,
    info_embed,
    under_grid,
    under_list,
    under_progress,
    under_question,
    under_result,
    under_single,
)
from bot.permissions import Action
from bot.texts import Field
from diffusion import Params
from storage import Job, JobKind, JobState

ID = "abcdefghijklm"


def job(kind: JobKind = JobKind.IMAGINE, images: int = 4) -> Job:
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
        params=Params(prompt="a fox", images=images).to_json(),
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
    assert labels(under_grid(job())) == [
        ["U1", "U2", "U3", "U4", "🔄"],
        ["V1", "V2", "V3", "V4", "Info"],
    ]


def test_a_grid_of_one_has_buttons_for_one() -> None:
    assert labels(under_grid(job(images=1))) == [["U1", "🔄"], ["V1", "Info"]]


def test_a_single_picture() -> None:
    view = under_single(job(JobKind.UPSCALE, images=1))
    assert [each.split(":")[1] for each in ids(view)] == ["vary", "info", "delete"]


@pytest.mark.parametrize("kind", JobKind)
def test_the_result_has_the_buttons_of_its_kind(kind: JobKind) -> None:
    single = kind is JobKind.UPSCALE
    assert (f"v1:delete:{ID}:0" in ids(under_result(job(kind)))) is single
    assert (f"v1:reroll:{ID}:0" in ids(under_result(job(kind)))) is not single


async def test_views_are_not_kept_by_the_client() -> None:
    for view in (under_grid(job()), under_progress(job()), under_question(job(), 7)):
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
