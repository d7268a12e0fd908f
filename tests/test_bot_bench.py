"""`easel bench`: its arithmetic, and (slow) the whole measurement."""

import pytest

from bot.bench import measure_bot, measure_store, percentile


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(v) for v in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([7.0], 0.99) == 7.0


async def test_the_commit_is_measured() -> None:
    (figure,) = await measure_store()
    assert figure.count == 200
    middle, worst = (float(part) for part in figure.value.removesuffix(" ms").split(" / "))
    assert 0 < middle <= worst


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_figure_is_measured() -> None:
    figures = {figure.name: figure for figure in await measure_bot()}
    assert figures["/imagine to acknowledgement while painting, p99"].count == 100
    assert figures["/imagine to grid, default settings"].value.endswith(" s")
