"""Names of samplers and schedules, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion.names import (
    SAMPLER_LABELS,
    SAMPLERS,
    SCHEDULE_LABELS,
    SCHEDULES,
    nearest,
    parse_sampler,
    parse_schedule,
)


def test_the_fixed_names() -> None:
    assert SAMPLERS == ("ddpm", "ddim", "euler", "euler_a", "dpmpp_2m")
    assert SCHEDULES == ("uniform", "karras")
    assert SAMPLER_LABELS["euler_a"] == "Euler a"
    assert SAMPLER_LABELS["dpmpp_2m"] == "DPM++ 2M"


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_label_and_name_reads_back(name: str) -> None:
    for text in (name, SAMPLER_LABELS[name], name.upper(), f"  {SAMPLER_LABELS[name].lower()} "):
        assert parse_sampler(text) == (name, None)
    for schedule in SCHEDULES:
        assert parse_sampler(f"{SAMPLER_LABELS[name]} {SCHEDULE_LABELS[schedule]}") == (
            name,
            schedule,
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Euler a", ("euler_a", None)),
        ("k_euler_a", ("euler_a", None)),
        ("Euler Ancestral", ("euler_a", None)),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpm++2m", ("dpmpp_2m", None)),
        ("Karras", None),
        ("", None),
        ("PLMS", None),
    ],
)
def test_what_people_type(text: str, expected: tuple[str, str | None] | None) -> None:
    assert parse_sampler(text) == expected


def test_schedules_read_back() -> None:
    for name, label in SCHEDULE_LABELS.items():
        assert parse_schedule(label) == parse_schedule(name) == name
    assert parse_schedule("exponential") is None


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    found = parse_sampler(text)
    assert found is None or found[0] in SAMPLERS
    assert parse_schedule(text) in (None, *SCHEDULES)


def test_the_nearest_name_or_none() -> None:
    assert nearest("Eulr", SAMPLERS) == "euler"
    assert nearest("qqqq", SAMPLERS) is None


def test_the_tables_are_closed() -> None:
    with pytest.raises(TypeError):
        SAMPLER_LABELS["x"] = "X"  # type: ignore[index]
