"""What pictures look like in 64 bits: near after JPEG and resizing, far from another picture."""

import io
from itertools import combinations

import pytest
from PIL import Image

from diffusion import Params, describe_model, generate, load_model
from diffusion.likeness import bits_apart, phash

PROMPTS = ("a red heart", "cat face", "a blue fish", "a house", "crying face", "a green tree")


@pytest.fixture(scope="module")
def painted() -> list[Image.Image]:
    """Pictures of the shipped model, as large as they are posted."""
    info, model = describe_model("emoji"), load_model("emoji")
    found = []
    for prompt in PROMPTS:
        params = Params(
            prompt=prompt,
            seed=3,
            steps=8,
            images=1,
            width=info.native_width,
            height=info.native_height,
            guidance_scale=info.defaults.guidance_scale,
            schedule=info.defaults.schedule,
        )
        pictures = list(generate(model, params))[-1].pictures
        assert pictures is not None
        side = info.native_width * info.display_scale
        found.append(pictures[0].resize((side, side), Image.Resampling.LANCZOS))
    return found


def worn(picture: Image.Image) -> Image.Image:
    """Return a picture after JPEG at 80, half as large."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    with Image.open(data) as again:
        return again.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)


def test_a_worn_picture_is_near(painted: list[Image.Image]) -> None:
    for picture in painted:
        assert bits_apart(phash(picture), phash(worn(picture))) <= 10


def test_other_pictures_are_far(painted: list[Image.Image]) -> None:
    for one, other in combinations(painted, 2):
        assert bits_apart(phash(one), phash(other)) >= 18
        assert bits_apart(phash(worn(one)), phash(other)) >= 18


def test_it_is_a_number_of_64_bits_that_never_changes() -> None:
    pixels = bytes((i * i * 7919 >> 5) % 256 for i in range(16 * 12))
    picture = Image.frombytes("L", (16, 12), pixels).resize((64, 48), Image.Resampling.NEAREST)
    # Kept in databases for years: another number would find nothing again.
    assert phash(picture) == 0xFC86E3C435B32878
    assert phash(picture.convert("RGB")) == phash(picture)
    assert phash(Image.new("RGB", (64, 64), "red")) == 0


def test_a_drawing_full_of_symmetries_is_near_when_worn() -> None:
    drawing = Image.new("RGB", (256, 256), "white")
    drawing.paste("red", (60, 60, 196, 196))
    assert bits_apart(phash(drawing), phash(worn(drawing))) <= 2


def test_transparency_lies_on_white() -> None:
    seen = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    seen.paste((200, 30, 30, 255), (10, 20, 40, 50))
    white = Image.new("RGB", (64, 64), "white")
    white.paste((200, 30, 30), (10, 20, 40, 50))
    assert phash(seen) == phash(white)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (8192, 8)])
def test_any_size(size: tuple[int, int]) -> None:
    assert 0 <= phash(Image.new("RGB", size, "red")) < 2**64
