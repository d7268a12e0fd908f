"""How long rows take, and how large a batch should be."""

from diffusion.pace import Pace


def measured(seconds: dict[int, float]) -> Pace:
    pace = Pace()
    for rows, each in seconds.items():
        for _ in range(2):
            pace.note("kind", rows, each * rows)
    return pace


def test_batches_begin_small_and_double_while_rows_get_cheaper() -> None:
    pace, sizes = Pace(), []
    row = {2: 5.0, 4: 3.4, 8: 2.6, 16: 2.6}
    for _ in range(12):
        size = pace.cap("kind", 32)
        sizes.append(size)
        pace.note("kind", size, size * row[size])
    assert sizes[:6] == [2, 2, 4, 4, 8, 8]
    assert sizes[-1] == 8, "sixteen were tried, and are no cheaper"
    assert 16 in sizes


def test_large_rows_stay_in_small_batches() -> None:
    """Two rows keep the device busy: more of them would only make everybody wait."""
    pace = measured({2: 18.0, 4: 18.0})
    assert pace.cap("kind", 32) == 2


def test_no_batch_is_larger_than_allowed() -> None:
    pace = measured({2: 5.0, 4: 3.0, 8: 2.0, 16: 1.0})
    assert pace.cap("kind", 32) == 32
    assert pace.cap("kind", 12) == 8
    assert pace.cap("kind", 3) == 2


def test_the_quickest_pass_counts_and_a_disturbed_one_does_not() -> None:
    pace = measured({2: 5.0, 4: 3.0})
    pace.note("kind", 4, 400.0)
    assert pace.row_seconds("kind") == 3.0
    assert pace.cap("kind", 4) == 4


def test_kinds_are_told_apart_and_odd_sizes_belong_to_the_next_power() -> None:
    pace = Pace()
    assert pace.row_seconds("kind") is None
    pace.note("kind", 3, 9.0)
    pace.note("other", 1, 1.0)
    assert (pace.row_seconds("kind"), pace.row_seconds("other")) == (3.0, 1.0)
    assert pace.cap("other", 16) == 2


def test_passes_that_nobody_waits_for_may_be_large() -> None:
    pace = measured({2: 0.001, 4: 0.001, 8: 0.0011, 16: 0.001, 32: 0.0012, 64: 0.0012})
    assert pace.cap("kind", 64) == 32, "32 rows take less than a blink; 64 do not, and gain nothing"


def test_a_size_that_was_refused_on_a_busy_machine_is_tried_again() -> None:
    pace = measured({2: 5.0, 4: 50.0})
    assert pace.cap("kind", 8) == 2
    for _ in range(64):
        pace.note("kind", 2, 10.0)
    assert pace.cap("kind", 8) == 4
    for _ in range(2):
        pace.note("kind", 4, 12.0)
    assert pace.cap("kind", 8) == 8
