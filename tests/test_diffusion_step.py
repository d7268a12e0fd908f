"""What a consumer hears after each step."""

from collections.abc import Callable

import pytest
from PIL import Image

import diffusion
from diffusion import Step


def paint() -> Image.Image:
    return Image.new("RGB", (4, 4), "red")


def test_a_preview_is_painted_when_it_is_asked_for() -> None:
    asked = []

    def draw() -> Image.Image:
        asked.append(1)
        return paint()

    step = Step(index=1, total=3, draw_preview=draw)
    assert not asked
    assert step.pictures is None
    assert step.preview().getpixel((0, 0)) == (255, 0, 0)
    assert asked == [1]


@pytest.mark.parametrize(("index", "total"), [(0, 3), (4, 3), (-1, 3), (1, 0)])
def test_steps_count_from_one(index: int, total: int) -> None:
    with pytest.raises(ValueError, match=rf"step {index} is outside 1\.\.{total}"):
        Step(index=index, total=total, draw_preview=paint)


def test_only_the_last_step_carries_pictures() -> None:
    assert Step(index=3, total=3, pictures=(paint(),), draw_preview=paint).pictures
    with pytest.raises(ValueError, match="belong to step 3"):
        Step(index=2, total=3, pictures=(paint(),), draw_preview=paint)


def test_steps_compare_without_their_previews() -> None:
    other: Callable[[], Image.Image] = lambda: paint()  # noqa: E731
    assert Step(index=1, total=2, draw_preview=paint) == Step(index=1, total=2, draw_preview=other)


def test_the_package_names_what_it_offers() -> None:
    assert set(diffusion.__all__) <= set(dir(diffusion))
    for name in ("Engine", "generate", "load_model", "Params", "Step", "SAMPLERS"):
        assert name in diffusion.__all__
    assert callable(diffusion.load_model)
    assert callable(diffusion.generate)
    with pytest.raises(AttributeError, match="paint_me"):
        diffusion.paint_me  # noqa: B018
