"""The small tools for mending."""

from bot.prompt.mend import clip, nearest, splice


def test_nearest() -> None:
    assert nearest("apsect", ("ar", "aspect", "seed")) == "aspect"
    assert nearest("ra", ("raw", "ar", "r")) == "ar"
    assert nearest("zzz", ("ar", "aspect")) is None
    assert nearest("", ("ar",)) is None
    assert nearest("x" * 10_000, ("ar",)) is None


def test_splice_leaves_single_spaces_at_the_seams() -> None:
    assert splice("a  b  c", 3, 4, "") == "a c"
    assert splice("a b", 0, 1, "x") == "x b"
    assert splice("a b", 2, 3, "") == "a"
    assert splice("", 0, 0, "x") == "x"


def test_clip() -> None:
    assert clip("short") == "short"
    assert len(clip("x" * 1000)) == 40
    assert clip("x" * 1000).endswith("…")
