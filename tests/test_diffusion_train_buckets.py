"""Aspect buckets: which there are, who goes where, what is cut off, and fair draws."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.errors import PictureError
from diffusion.networks.configs import VAEConfig
from diffusion.networks.vae import AutoencoderKL
from diffusion.train.buckets import (
    Batch,
    Bucket,
    BucketBatches,
    Placed,
    TrainingPicture,
    describe,
    load_pixels,
    make_buckets,
    place,
)
from diffusion.train.vae import composite


def picture(width: int, height: int, name: str = "a.png", repeats: int = 1) -> TrainingPicture:
    return TrainingPicture(
        path=Path(name), caption="x", width=width, height=height, repeats=repeats
    )


def sizes(buckets: tuple[Bucket, ...]) -> list[tuple[int, int]]:
    return [(bucket.width, bucket.height) for bucket in buckets]


def test_the_buckets_of_a_small_area_by_hand() -> None:
    """16 x 16 = 256 pixels in steps of 4, sides 8 to 32: 8 x 32, 12 x 20, 16 x 16 and so on."""
    found = make_buckets(256, multiple=4, min_side=8, max_side=32)
    assert sizes(found) == [
        (8, 32), (8, 28), (8, 24), (12, 20), (16, 16), (20, 12), (24, 8), (28, 8), (32, 8),
    ]  # fmt: skip


def test_the_published_example() -> None:
    """NovelAI's: 512 x 768 pixels, steps of 64, 256 to 1024 a side."""
    found = make_buckets(512 * 768, multiple=64, min_side=256, max_side=1024)
    assert {(512, 768), (768, 512), (576, 576), (256, 1024), (384, 1024), (640, 576)} <= set(
        sizes(found)
    )


@pytest.mark.parametrize("area", [64 * 64, 5000, 512 * 512, 1024 * 1024])
@pytest.mark.parametrize("multiple", [8, 24, 64])
def test_every_bucket_keeps_to_the_rule(area: int, multiple: int) -> None:
    root = math.isqrt(area)
    low, high = root // 2, 2 * root
    found = make_buckets(area, multiple=multiple, min_side=low, max_side=high)
    assert len(set(found)) == len(found)
    aspects = [bucket.log_aspect for bucket in found]
    assert aspects == sorted(aspects)
    assert aspects == pytest.approx([-aspect for aspect in reversed(aspects)])
    for bucket in found:
        width, height = bucket.width, bucket.height
        assert width % multiple == 0
        assert height % multiple == 0
        assert width * height <= area
        assert low <= min(width, height) <= max(width, height) <= high
        # Of a width the largest height, or of a height the largest width, or the largest square.
        higher = height + multiple <= high and width * (height + multiple) <= area
        wider = width + multiple <= high and (width + multiple) * height <= area
        larger = (width + multiple) * (height + multiple) <= area and width + multiple <= high
        assert not (higher and wider) or (width == height and not larger)


@pytest.mark.parametrize(
    ("area", "multiple", "low", "high"), [(100, 64, 64, 256), (10**6, 64, 300, 310), (0, 8, 8, 64)]
)
def test_no_bucket_at_all_is_an_error(area: int, multiple: int, low: int, high: int) -> None:
    with pytest.raises(ValueError, match="allow more pixels or shorter sides"):
        make_buckets(area, multiple=multiple, min_side=low, max_side=high)
    with pytest.raises(ValueError, match="multiple is 0"):
        make_buckets(area, multiple=0)


@pytest.mark.parametrize(
    ("width", "height", "bucket", "scale", "cropped"),
    [
        # A square of 100 in 16 x 16 loses nothing.
        (100, 100, (16, 16), 0.16, 0.0),
        # 3:1 is 32 x 8 (4) or 28 x 8 (3.5) or 24 x 8 (3): exact.
        (30, 10, (24, 8), 0.8, 0.0),
        # 5:1 covers 32 x 8 at the scale 0.8 = 40 x 8; 8 of 40 columns go.
        (50, 10, (32, 8), 0.8, 0.2),
        # 10:7 = 1.43 is nearer to 20 x 12 (1.67) than to a square: it covers it as 20 x 14.
        (10, 7, (20, 12), 2.0, 1 / 7),
        (7, 10, (12, 20), 2.0, 1 / 7),
    ],
)
def test_a_picture_goes_to_the_nearest_log_aspect(
    width: int, height: int, bucket: tuple[int, int], scale: float, cropped: float
) -> None:
    buckets = make_buckets(256, multiple=4, min_side=8, max_side=32)
    found = place(picture(width, height), buckets)
    assert (found.bucket.width, found.bucket.height) == bucket
    assert found.scale == pytest.approx(scale)
    assert found.cropped == pytest.approx(cropped)
    assert found.cropped >= 0


def test_log_aspects_are_compared_and_not_aspects() -> None:
    """1.45 is nearer to 1 than to 2 by difference, and nearer to 2 by ratio."""
    buckets = (Bucket(width=10, height=10), Bucket(width=20, height=10))
    assert place(picture(145, 100), buckets).bucket.width == 20
    assert place(picture(140, 100), buckets).bucket.width == 10


def test_of_two_equally_near_the_larger_whatever_their_order() -> None:
    small, large = Bucket(width=10, height=5), Bucket(width=20, height=10)
    assert place(picture(90, 50), (small, large)).bucket == large
    assert place(picture(90, 50), (large, small)).bucket == large
    wide, high = Bucket(width=20, height=10), Bucket(width=10, height=20)
    assert place(picture(7, 7), (wide, high)).bucket == place(picture(7, 7), (high, wide)).bucket


def test_what_is_cut_off_and_enlarged_is_told() -> None:
    buckets = make_buckets(256, multiple=4, min_side=8, max_side=32)
    shapes = ((100, 100, "a"), (50, 10, "b"), (10, 10, "c"), (200, 200, "d"))
    assert describe([place(picture(w, h, name), buckets) for w, h, name in shapes]) == (
        "Sizes: 3 at 16 x 16, 1 at 32 x 8.",
        "Cropping cuts off 5% on average, most of b (20%).",
        "1 of 4 pictures are smaller than their bucket and enlarged.",
    )


# Pixels


def test_pixels_lie_in_the_range_of_the_autoencoder(tmp_path: Path) -> None:
    """They are what `composite` makes of the same art, which is what the VAE is trained on."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_pixels(tmp_path / "a.png", Bucket(width=24, height=16))
    assert found.shape == (3, 16, 24)
    assert found.dtype == torch.float32
    art = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    wanted = composite(torch.cat([art, torch.ones(1, 1, 16, 24)], dim=1), torch.zeros(1, 3))[0]
    assert torch.allclose(found, wanted, atol=1e-6)
    vae = AutoencoderKL(VAEConfig(channels=32, channel_mult=(1, 1), num_res_blocks=1))
    assert vae.encode(found[None]).shape[-2:] == (8, 12)


@pytest.mark.parametrize(("width", "height"), [(300, 100), (100, 300), (310, 107)])
def test_the_middle_is_kept(tmp_path: Path, width: int, height: int) -> None:
    """On a ramp the crop's edges tell which part of it was taken, and the mean its middle."""
    along = max(width, height)
    ramp = np.linspace(0, 255, along)[None, :, None]
    array = np.broadcast_to(ramp, (min(width, height), along, 3)).round().astype(np.uint8)
    Image.fromarray(array if width > height else array.swapaxes(0, 1)).save(tmp_path / "a.png")
    found = load_pixels(tmp_path / "a.png", Bucket(width=50, height=50))
    line = found[0].mean(dim=0 if width > height else 1)
    share = min(width, height) / along
    assert float(line.mean()) == pytest.approx(0, abs=0.01)
    assert float(line[0]) == pytest.approx(-share, abs=0.03)
    assert float(line[-1]) == pytest.approx(share, abs=0.03)


def test_enlarging_keeps_the_shape(tmp_path: Path) -> None:
    Image.new("RGB", (7, 10), "red").save(tmp_path / "a.png")
    found = load_pixels(tmp_path / "a.png", Bucket(width=120, height=160))
    assert found.shape == (3, 160, 120)
    assert torch.allclose(found.mean(dim=(1, 2)), torch.tensor([1.0, -1.0, -1.0]))


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a\.png cannot be read \(No such file"):
        load_pixels(tmp_path / "a.png", Bucket(width=8, height=8))


# Draws

SQUARE, WIDE = Bucket(width=8, height=8), Bucket(width=16, height=4)


def placed(*groups: tuple[Bucket, int, int]) -> list[Placed]:
    """Return `count` pictures a bucket with the same repeats: (bucket, count, repeats)."""
    return [
        Placed(picture=picture(9, 9, f"{bucket.width}-{repeats}-{i}", repeats), bucket=bucket,
               scale=1.0, cropped=0.0)
        for bucket, count, repeats in groups
        for i in range(count)
    ]  # fmt: skip


def names(batch: Batch) -> list[str]:
    return [one.path.name for one in batch.pictures]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_picture_is_drawn_equally_often(count: int) -> None:
    """5 squares and 2 wide ones: each a seventh of all, although a bucket has a batch to itself."""
    batches = BucketBatches(placed((SQUARE, 5, 1), (WIDE, 2, 1)))
    generator = torch.Generator().manual_seed(0)
    draws = 4000
    seen: Counter[str] = Counter()
    for _ in range(draws):
        batch = batches.draw(count, generator)
        assert len(batch.pictures) == count
        assert {name.split("-")[0] for name in names(batch)} == {str(batch.bucket.width)}
        seen.update(names(batch))
    assert len(seen) == 7
    # The count of a picture varies by whole batches; five deviations of that.
    for name, found in seen.items():
        size = 5 if name.startswith("8-") else 2
        per_batch = count / size
        deviation = math.sqrt(draws * size / 7 * (per_batch**2 * (1 - size / 7) + per_batch))
        assert found == pytest.approx(draws * count / 7, abs=5 * deviation)
        assert 5 * deviation < draws * count / 7 * 0.5


def test_repeats_count_within_and_between_buckets() -> None:
    """Shares 1 : 3 : 2 in one bucket, 6 in another: a twelfth for every repeat."""
    batches = BucketBatches(placed((SQUARE, 1, 1), (SQUARE, 1, 3), (SQUARE, 1, 2), (WIDE, 2, 3)))
    generator = torch.Generator().manual_seed(1)
    seen = Counter(names(batches.draw(1, generator))[0] for _ in range(12_000))
    wanted = {"8-1-0": 1000, "8-3-0": 3000, "8-2-0": 2000, "16-3-0": 3000, "16-3-1": 3000}
    for name, count in wanted.items():
        assert seen[name] == pytest.approx(count, abs=5 * math.sqrt(count))


def test_nothing_comes_twice_before_its_round_is_over() -> None:
    batches = BucketBatches(placed((SQUARE, 5, 1)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        assert len(set(names(batches.draw(5, generator)))) == 5
        counted = Counter(names(batches.draw(12, generator)))
        assert sorted(counted.values()) == [2, 2, 2, 3, 3]
    assert len({tuple(names(batches.draw(5, generator))) for _ in range(20)}) > 10


def test_draws_depend_on_the_generator_alone() -> None:
    def drawn(seed: int) -> list[list[str]]:
        batches = BucketBatches(placed((SQUARE, 5, 1), (WIDE, 9, 2)))
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed + 17)
        return [names(batches.draw(4, generator)) for _ in range(10)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    backwards = BucketBatches(placed((WIDE, 9, 2), (SQUARE, 5, 1)))
    generator = torch.Generator().manual_seed(3)
    assert [names(backwards.draw(4, generator)) for _ in range(10)] == drawn(3)


def test_a_batch_is_one_tensor(tmp_path: Path) -> None:
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (32, 8), colour).save(tmp_path / f"{name}.png")
    pictures = tuple(picture(32, 8, str(tmp_path / f"{name}.png")) for name in "ba")
    pixels = Batch(bucket=WIDE, pictures=pictures).pixels()
    assert pixels.shape == (2, 3, 4, 16)
    assert pixels[:, :, 0, 0].tolist() == [[-1, -1, 1], [1, -1, -1]]


def test_no_pictures_no_batches() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        BucketBatches([])
