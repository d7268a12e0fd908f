"""What a measurement prints: medians and ranges, lines of a table, JSON, Markdown."""

import json
from dataclasses import replace

import pytest

from diffusion.bench.report import Figure, Report, installed, percentile, ratios, seconds

SPEED = Figure(name="speed", values=(1.5, 1.25, 2.0), goal="≥ 1.2", note="1 s against 2 s")
REPORT = Report(
    command="easel bench solo",
    model="emoji",
    device="CPU",
    figures=(
        SPEED,
        Figure(name="p50", values=(1.0,), group="grid", label="p50", goal="≤ 1.6"),
        Figure(name="p99", values=(3.0,), group="grid", label="p99"),
        Figure(name="lag", values=(0.004,), unit="%"),
    ),
    date="2026-11-25",
    machine="a machine",
    load=0.5,
)


def test_a_figure_is_a_median_and_a_range() -> None:
    assert SPEED.median == 1.5
    assert SPEED.text == "1.50 × (1.25 to 2.00)"
    assert Figure(name="one", values=(123.4,), unit="%").text == "123 %"
    assert Figure(name="nothing", values=(0.0, 0.0), unit="").text == "0 (0 to 0)"
    with pytest.raises(ValueError, match="one value at least"):
        Figure(name="none", values=())


def test_figures_of_a_group_are_one_line() -> None:
    lines = REPORT.lines()
    assert [line.name for line in lines] == ["speed", "grid", "lag"]
    assert lines[0].measured == "1.50 × (1.25 to 2.00); 1 s against 2 s"
    assert (lines[1].measured, lines[1].goal) == ("p50 1.00 ×, p99 3.00 ×", "p50 ≤ 1.6")
    assert lines[2].measured == "0.004 %"


def test_the_json_is_one_line_with_every_value() -> None:
    text = REPORT.to_json()
    assert "\n" not in text
    told = json.loads(text)
    assert told["figures"][0]["values"] == [1.5, 1.25, 2.0]
    assert told["figures"][0]["median"] == 1.5
    assert told["versions"] == installed() and "torch" in told["versions"]


def test_the_page_names_the_machine_and_the_date() -> None:
    page = REPORT.page()
    assert "| emoji: speed | 1.50 × (1.25 to 2.00); 1 s against 2 s | ≥ 1.2 |" in page
    assert "2026-11-25, a machine, CPU; " in page and page.endswith("load average 0.5.\n")
    assert "load average" not in replace(REPORT, load=None).page()


def test_figures_are_found_by_name() -> None:
    assert REPORT.figure("speed") is SPEED
    with pytest.raises(LookupError, match="there are speed, p50, p99, lag"):
        REPORT.figure("sped")


def test_arithmetic() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(i) for i in range(100)], 0.99) == 99.0
    with pytest.raises(ValueError, match="no percentile"):
        percentile([], 0.5)
    assert ratios([1.0, 3.0], [2.0, 2.0]) == (0.5, 1.5)
    assert [seconds(value) for value in (2e-5, 0.0123, 4.5)] == ["20 µs", "12.3 ms", "4.50 s"]
