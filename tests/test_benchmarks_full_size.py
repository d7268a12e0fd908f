"""The comparison at full size, shrunk: same files, same step, both sides, in this process."""

from pathlib import Path

import pytest

from tests.benchmarks.full_size import Loads, line_of, merged, page
from tests.benchmarks.full_size_families import FAMILIES, FILES, FOLDER, SINGLE
from tests.benchmarks.full_size_models import clip_table, numbers
from tests.benchmarks.full_size_models import write as write_here
from tests.benchmarks.full_size_sides import DIFFUSERS, EASEL, measure, step
from tests.thinning import thinned

# The older name of the argument is the one that every release in our range knows.
pytestmark = pytest.mark.filterwarnings("ignore:`torch_dtype`:FutureWarning")


@pytest.mark.parametrize("layout", [FOLDER, SINGLE])
@pytest.mark.parametrize("name", thinned(["tiny-sdxl", "tiny-sd15", "tiny-sd21"], every=3))
def test_one_step_is_the_same_on_both_sides(name: str, layout: str, tmp_path: Path) -> None:
    write_here(name, tmp_path)
    path, family = tmp_path / FILES[layout], FAMILIES[name]
    ours, theirs = (step(side, family, path) for side in (EASEL, DIFFUSERS))
    assert ours.keys() == theirs.keys() >= {"text", "unet", "vae"}
    for key, wanted in theirs.items():
        # Activations of order one: neither zeros nor overflow would hide a difference.
        assert 0.1 < float(wanted.std()) < 10, key
        assert float((ours[key] - wanted).abs().max() / wanted.abs().max()) < 1e-5, key


@pytest.mark.parametrize("side", [EASEL, DIFFUSERS])
def test_a_load_is_measured(side: str, tmp_path: Path) -> None:
    write_here("tiny-sd15", tmp_path)
    result = measure(side, FAMILIES["tiny-sd15"], tmp_path / FILES[FOLDER])
    assert result["weights"] == 4 * numbers("tiny-sd15")
    assert 0 < result["seconds"] <= result["seconds_touched"]


def test_the_published_sizes() -> None:
    millions = {name: numbers(name) // 10**6 for name in ("sd15", "sd21", "sdxl")}
    assert millions == {"sd15": 1066, "sd21": 1289, "sdxl": 3468}


def test_the_table_of_tokens() -> None:
    vocabulary, merges = clip_table()
    assert (len(vocabulary), len(merges)) == (49408, 48894)
    assert vocabulary["!"] == 0 and vocabulary["<|endoftext|>"] == 49407


def test_a_page_keeps_what_was_not_measured_again() -> None:
    runs = [{"seconds": s, "seconds_touched": 2 * s, "peak": 3.0, "weights": 2.0} for s in (1, 2)]
    sides = {"easel": tuple(runs), "diffusers": tuple(reversed(runs))}
    apart = {"text": 1e-6, "unet": 2e-6, "vae": 3e-6}
    first = [
        line_of(Loads(family=name, layout=FOLDER, **sides), apart) for name in ("sdxl", "sd15")
    ]
    assert "1.25 (0.50 to 2.00)" in first[0] and "| 1.50 | 1.50 | 1.0e-06 | 2.0e-06" in first[0]
    old = page(merged("", first))
    assert [line for line in old.splitlines() if line in first] == [first[1], first[0]]
    again = line_of(Loads(family="sd15", layout=FOLDER, **sides), apart | {"vae": 9e-6})
    new = page(merged(old, [again])).splitlines()
    assert again in new and first[0] in new and first[1] not in new
    assert new[: new.index(again)] == old.splitlines()[: new.index(again)]
