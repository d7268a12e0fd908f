"""Names of samplers and schedules, those of A1111 among them."""

import pytest

import diffusion
from bot.prompt import PromptError, parse
from bot.prompt.samplers import (
    SamplerName,
    fold,
    read_sampler,
    read_schedule,
    sampler_choices,
    sampler_label,
    schedule_label,
)


@pytest.mark.parametrize(
    ("typed", "sampler", "schedule"),
    [
        ("Euler a", "euler_a", None),
        ("euler_a", "euler_a", None),
        ("EULER ANCESTRAL", "euler_a", None),
        ("k_euler_a", "euler_a", None),
        ("Euler", "euler", None),
        ("DDIM", "ddim", None),
        ("DDPM", "ddpm", None),
        ("DPM++ 2M", "dpmpp_2m", None),
        ("dpm++2m", "dpmpp_2m", None),
        ("dpmpp_2m", "dpmpp_2m", None),
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("dpmpp_2m_karras", "dpmpp_2m", "karras"),
        ("Euler a Karras", "euler_a", "karras"),
        ("Euler Uniform", "euler", "uniform"),
        ("UniPC", "unipc", None),
        ("PLMS", "plms", None),
        ("DPM2 a", "dpm2_a", None),
        ("DPM++ 2S a Karras", "dpmpp_2s_a", "karras"),
        ("DPM++ 3M SDE Exponential", "dpmpp_3m_sde", "exponential"),
        ("DPM++ 2M SDE SGM Uniform", "dpmpp_2m_sde", "sgm_uniform"),
        ("Euler Align Your Steps", "euler", "ays"),
    ],
)
def test_names_people_know(typed: str, sampler: str, schedule: str | None) -> None:
    assert read_sampler(typed) == SamplerName(sampler=sampler, schedule=schedule)
    for text in (typed, f'"{typed}"', f"“{typed}”", f"'{typed}'"):
        parsed = parse(f"cat --sampler {text} --seed 7")
        assert (parsed.sampler, parsed.schedule, parsed.seed) == (sampler, schedule, 7)


def test_every_sampler_and_schedule_of_the_engine_has_its_name() -> None:
    for name in diffusion.SAMPLERS:
        assert read_sampler(name) == SamplerName(sampler=name)
        assert read_sampler(sampler_label(name)) == SamplerName(sampler=name)
    for name in diffusion.SCHEDULES:
        assert read_schedule(name) == name
        assert read_schedule(schedule_label(name)) == name
    assert "DPM++ 2M" in sampler_choices()


@pytest.mark.parametrize("typed", ["DPM adaptive", "Restart", "DPM fast", "DDIM CFG++"])
def test_a_sampler_of_a_later_version_gets_a_sentence(typed: str) -> None:
    with pytest.raises(PromptError, match=r"does not have the (sampler|schedule)") as caught:
        parse(f"cat --sampler {typed} --tile")
    assert caught.value.suggestion is not None
    assert parse(caught.value.suggestion).tile


def test_an_unknown_sampler_is_answered_with_the_nearest() -> None:
    with pytest.raises(PromptError, match="no sampler “eulr”") as caught:
        parse("cat --sampler eulr")
    assert caught.value.suggestion == "cat --sampler Euler"


def test_an_unknown_schedule_is_answered_with_the_nearest() -> None:
    with pytest.raises(PromptError, match="no schedule “karas”") as caught:
        parse("cat --schedule karas")
    assert caught.value.suggestion == "cat --schedule karras"


def test_a_schedule_of_a_later_version_gets_a_sentence() -> None:
    with pytest.raises(PromptError, match="does not have the schedule Beta yet") as caught:
        parse("cat --schedule beta --tile")
    assert caught.value.suggestion == "cat --tile"


def test_words_behind_a_sampler_are_not_swallowed() -> None:
    with pytest.raises(PromptError, match="behind --sampler") as caught:
        parse("cat --sampler Euler a hat")
    assert caught.value.text[caught.value.start :] == "hat"
    assert caught.value.suggestion == "cat hat --sampler Euler a"


def test_folding_is_total() -> None:
    assert fold("") == ""
    assert fold("ＤＰＭ＋＋　２Ｍ") == "dpmpp2m"
