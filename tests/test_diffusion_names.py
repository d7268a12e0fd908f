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
    assert " ".join(SAMPLERS) == (
        "ddpm ddim plms euler euler_a heun lms dpm2 dpm2_a dpmpp_2s_a dpmpp_2m dpmpp_sde "
        "dpmpp_2m_sde dpmpp_3m_sde unipc deis lcm tcd"
    )
    assert " ".join(SCHEDULES) == (
        "uniform karras exponential trailing leading linspace sgm_uniform simple ays"
    )
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
        ("PLMS", ("plms", None)),
        ("DPM2 a Karras", ("dpm2_a", "karras")),
        ("DPM++ 2S Ancestral", ("dpmpp_2s_a", None)),
        ("DPM++ 3M SDE Exponential", ("dpmpp_3m_sde", "exponential")),
        ("dpmpp_2m_sde_sgm_uniform", ("dpmpp_2m_sde", "sgm_uniform")),
        ("Euler Align Your Steps", ("euler", "ays")),
        ("Euler AYS", ("euler", "ays")),
        ("DPM adaptive", None),
    ],
)
def test_what_people_type(text: str, expected: tuple[str, str | None] | None) -> None:
    assert parse_sampler(text) == expected


def test_schedules_read_back() -> None:
    for name, label in SCHEDULE_LABELS.items():
        assert parse_schedule(label) == parse_schedule(name) == name
    assert parse_schedule("beta") is None
    assert parse_schedule("Align your steps") == parse_schedule("AYS") == "ays"


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
