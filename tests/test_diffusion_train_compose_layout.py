"""Where parts go: inside the canvas, apart, in order, and without dark rims."""

import numpy as np
import pytest

from diffusion.train.compose.colours import ComposeError
from diffusion.train.compose.layout import Box, beside, centred, fit, lay, stacked, tidy
from diffusion.train.data import Pixels

SIZES = (16, 32, 63, 64, 128)


def full(size: int, rgb: tuple[int, int, int] = (200, 40, 40)) -> Pixels:
    return np.full((size, size, 4), (*rgb, 255), dtype=np.uint8)


def assert_apart(boxes: tuple[Box, ...], size: int) -> None:
    """Count pixels instead of trusting `Box.overlaps`."""
    covered = np.zeros((size, size), dtype=int)
    for box in boxes:
        assert box.left >= 0 and box.top >= 0 and box.side >= 1
        assert box.left + box.side <= size and box.top + box.side <= size
        covered[box.top : box.top + box.side, box.left : box.left + box.side] += 1
    assert covered.max() == 1
    assert covered.sum() == sum(box.side**2 for box in boxes)


def test_boxes_that_share_a_pixel_overlap_and_neighbours_do_not() -> None:
    box = Box(left=4, top=4, side=4)
    assert box.overlaps(box)
    assert box.overlaps(Box(left=7, top=7, side=4))
    assert box.overlaps(Box(left=5, top=5, side=1))
    for left, top in ((8, 4), (0, 4), (4, 8), (4, 0)):
        assert not box.overlaps(Box(left=left, top=top, side=4))


@pytest.mark.parametrize("size", SIZES)
def test_pairs_never_overlap_and_keep_their_order(size: int) -> None:
    sides = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        left, right = beside(size, rng)
        assert_apart((left, right), size)
        assert left.left + left.side <= right.left
        upper, lower = stacked(size, rng)
        assert_apart((upper, lower), size)
        assert upper.top + upper.side <= lower.top
        sides |= {box.side / size for box in (left, right, upper, lower)}
    assert min(sides) >= 0.42 - 1 / size
    assert max(sides) <= 0.48


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_counted_parts_are_as_many_apart_and_symmetric(size: int, count: int) -> None:
    boxes = tidy(size, count)
    assert len(boxes) == count
    assert_apart(boxes, size)
    assert len({box.side for box in boxes}) == 1
    mirrored = {(size - box.left - box.side, box.top) for box in boxes}
    moved = {(box.left, box.top) for box in boxes}
    assert all(any(abs(a - c) <= 1 and b == d for c, d in moved) for a, b in mirrored)


def test_other_counts_are_refused() -> None:
    for count in (0, 1, 5):
        with pytest.raises(ComposeError, match=f"{count} parts"):
            tidy(64, count)


def test_a_centred_box_takes_its_share() -> None:
    assert centred(64, 0.5) == Box(left=16, top=16, side=32)
    assert centred(64, 1.0) == Box(left=0, top=0, side=64)


def test_each_part_lies_in_its_box_and_nowhere_else() -> None:
    red, blue = full(64), full(64, (20, 60, 220))
    boxes = beside(64, np.random.default_rng(5))
    canvas = lay([red, blue], boxes, 64)
    for box, colour in zip(boxes, ((200, 40, 40), (20, 60, 220)), strict=True):
        part = canvas[box.top : box.top + box.side, box.left : box.left + box.side]
        assert (part == (*colour, 255)).all()
    assert (canvas[..., 3] > 0).sum() == sum(box.side**2 for box in boxes)
    assert not canvas[canvas[..., 3] == 0].any()


def test_overlapping_or_leaving_parts_are_refused() -> None:
    box = Box(left=0, top=0, side=20)
    with pytest.raises(ComposeError, match="overlaps"):
        lay([full(64)] * 2, [box, Box(left=19, top=19, side=20)], 64)
    for outside in (Box(left=50, top=0, side=20), Box(left=0, top=-1, side=5)):
        with pytest.raises(ComposeError, match="leaves"):
            lay([full(64)], [outside], 64)
    with pytest.raises(ValueError, match="zip"):
        lay([full(64)] * 2, [box], 64)


def test_shrinking_leaves_no_dark_rim() -> None:
    pixels = full(64)
    pixels[:, 31:] = 0
    small = fit(pixels, 20)
    edge = small[(small[..., 3] > 0) & (small[..., 3] < 255)]
    assert len(edge) > 0
    np.testing.assert_allclose(edge[:, :3].astype(int) - [200, 40, 40], 0, atol=2)
    np.testing.assert_array_equal(fit(pixels, 64), pixels)


def test_growing_and_oblongs_are_refused() -> None:
    for pixels, side in ((full(16), 17), (full(16), 0), (full(16)[:8], 4)):
        with pytest.raises(ComposeError, match="cannot be shrunk"):
            fit(pixels, side)
