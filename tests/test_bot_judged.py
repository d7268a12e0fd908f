"""What becomes of pictures that a checker objects to, by the settings' word."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from bot.config import ModerationConfig
from bot.judged import FLAGGED, flagged_of, is_hidden, is_withheld, plain_name, posted_name
from diffusion import Params, Step
from storage import JobKind, NewJob, NewPicture

JOB = NewJob(
    kind=JobKind.IMAGINE,
    params=Params(prompt="x").to_json(),
    prompt="x",
    images=4,
    model="emoji",
    requester_id=1,
    guild_id=2,
    channel_id=3,
    interaction_id=4,
)


def with_details(**details: object) -> NewJob:
    return replace(JOB, details=json.dumps(details))


@pytest.mark.parametrize(
    ("unsafe", "here", "elsewhere"),
    [
        ("block", True, True),
        ("spoiler", False, False),
        ("restricted", False, True),
        ("allow", False, False),
    ],
)
def test_the_word_of_the_settings(unsafe: str, here: bool, elsewhere: bool) -> None:
    moderation = ModerationConfig(unsafe=unsafe)  # type: ignore[arg-type]
    assert is_withheld(moderation, with_details(restricted=True)) is here
    assert is_withheld(moderation, JOB) is elsewhere


def test_pictures_are_numbered_as_they_are_kept() -> None:
    def step(*flagged: bool, images: tuple[int, ...] = ()) -> Step:
        return Step(
            index=1,
            total=1,
            images=images,
            flagged=flagged,
            draw_preview=lambda: Image.new("L", (1, 1)),
        )

    assert flagged_of(step(False, True, False, True)) == {2, 4}
    assert flagged_of(step(True, False, images=(2, 3))) == {3}
    assert flagged_of(step()) == set()


def test_a_file_is_hidden_by_its_own_mark_or_by_its_requesters_wish() -> None:
    picture = NewPicture(index=1, data=b"x", width=1, height=1, media_type="image/png")
    assert not is_hidden(picture, JOB)
    assert is_hidden(replace(picture, media_type=FLAGGED), JOB)
    assert is_hidden(picture, with_details(spoiler=True))
    assert plain_name(posted_name("easel-a.png", hidden=True)) == "easel-a.png"
    assert posted_name("easel-a.png", hidden=False) == "easel-a.png"
