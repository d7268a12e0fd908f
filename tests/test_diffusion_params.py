"""Params: what may be asked for, and the same JSON for the same thing."""

import json
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion import SAMPLERS, SCHEDULES, Control, DiffusionError, Params, ParamsError
from diffusion.params import MAX_JSON_LENGTH, MAX_PROMPT_LENGTH

DIGEST = "0f" * 32

prompts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
sides = st.integers(1, 1024).map(lambda n: n * 8)


controls = st.builds(
    Control,
    model=st.just("canny"),
    image=st.just(DIGEST),
    scale=st.floats(0, 2),
    start=st.floats(0, 0.4),
    end=st.floats(0.5, 1),
    guess=st.booleans(),
)


@st.composite
def all_params(draw: st.DrawFn) -> Params:
    init_image = draw(st.none() | st.just(DIGEST))
    strengths = st.floats(0, 1, exclude_min=True) if init_image else st.just(0.75)
    return Params(
        prompt=draw(prompts),
        negative_prompt=draw(prompts),
        seed=draw(st.integers(0, 2**32 - 1)),
        steps=draw(st.integers(1, 1000)),
        guidance_scale=draw(st.floats(1, 100) | st.integers(1, 100)),
        sampler=draw(st.sampled_from(SAMPLERS)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        width=draw(sides),
        height=draw(sides),
        images=draw(st.integers(3, 36)),
        model=draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")),
        stop=draw(st.integers(10, 100)),
        tile=draw(st.booleans()),
        init_image=init_image,
        strength=draw(strengths),
        mask=draw(st.none() | st.just(DIGEST)) if init_image else None,
        clip_skip=draw(st.integers(0, 11)),
        guidance_rescale=draw(st.floats(0, 1)),
        eta=draw(st.none() | st.floats(0, 1)),
        zero_negative=draw(st.none() | st.booleans()),
        hires=draw(st.floats(1.5, 2)),
        hires_strength=draw(st.floats(0.1, 1)),
        variation_seed=draw(st.integers(0, 2**32 - 1)),
        variation_strength=draw(st.floats(0, 1)),
        controls=draw(st.lists(controls, max_size=2).map(tuple)),
        chaos=draw(st.integers(0, 100)),
        same_seed=draw(st.booleans()),
        morph=draw(st.lists(prompts.filter(str.strip), max_size=2).map(tuple)),
    )


@given(all_params())
def test_json_both_ways(params: Params) -> None:
    text = params.to_json()
    again = Params.from_json(text)
    assert again == params
    assert hash(again) == hash(params)
    assert again.to_json() == text
    assert text.encode()
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_the_defaults_are_the_documented_ones() -> None:
    assert Params(prompt="a red fox").to_json() == (
        '{"chaos":0,"clip_skip":0,"controls":[],"eta":null,"guidance_rescale":0.0,'
        '"guidance_scale":7.5,"height":512,"hires":1.0,"hires_strength":0.5,"images":4,'
        '"init_image":null,"mask":null,"model":"emoji","morph":[],"negative_prompt":"",'
        '"prompt":"a red fox","same_seed":false,"sampler":"dpmpp_2m","schedule":"uniform",'
        '"seed":0,"steps":20,"stop":100,"strength":0.75,"tile":false,"variation_seed":null,'
        '"variation_strength":0.0,"width":512,"zero_negative":null}'
    )


def test_equal_params_are_equal_bytes_whatever_number_was_typed() -> None:
    whole, real = Params(prompt="é", guidance_scale=3), Params(prompt="é", guidance_scale=3.0)
    assert whole.to_json() == real.to_json()
    assert '"guidance_scale":3.0' in whole.to_json()
    assert '"prompt":"é"' in whole.to_json()


def test_params_do_not_change() -> None:
    params = Params(prompt="x")
    with pytest.raises(FrozenInstanceError):
        params.seed = 2  # type: ignore[misc]
    assert replace(params, seed=2).seed == 2
    with pytest.raises(ParamsError):
        replace(params, seed=-1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("prompt", None, "6000"),
        ("prompt", b"x", "text"),
        ("prompt", "x" * (MAX_PROMPT_LENGTH + 1), "6001 characters.*limit is 6000"),
        ("prompt", "a\0b", "NUL"),
        ("prompt", "\ud800", "surrogates"),
        ("negative_prompt", "\udfff", "surrogates"),
        ("negative_prompt", 3, "text"),
        ("seed", -1, "0 to 4294967295"),
        ("seed", 2**32, "4294967296.*0 to 4294967295"),
        pytest.param("seed", 10**5000, "an integer of 16610 bits", id="seed-huge"),
        ("seed", True, "True.*whole number"),
        ("seed", 1.0, "whole number"),
        ("seed", "7", "'7'.*whole number"),
        ("steps", 0, "1 to 1000"),
        ("steps", 1001, "1 to 1000"),
        ("steps", False, "whole number"),
        ("guidance_scale", 0.99, "1 to 100"),
        ("guidance_scale", 100.1, "1 to 100"),
        ("guidance_scale", float("nan"), "nan.*1 to 100"),
        ("guidance_scale", float("inf"), "inf.*1 to 100"),
        pytest.param("guidance_scale", 10**400, "1 to 100", id="guidance_scale-huge"),
        ("guidance_scale", True, "a number"),
        ("guidance_scale", "7.5", "a number"),
        ("sampler", "euler_b", "did you mean 'euler_a'"),
        ("sampler", "Euler a", "one of ddpm"),
        ("sampler", None, "one of ddpm"),
        ("sampler", "z" * 10_000, "one of ddpm"),
        ("schedule", "karas", "did you mean 'karras'"),
        ("schedule", ["karras"], "one of uniform"),
        ("width", 0, "8 to 8192 divisible by 8"),
        ("width", 516, "divisible by 8"),
        ("height", 8200, "8 to 8192"),
        ("height", 512.0, "whole number"),
        ("images", 0, "1 to 36"),
        ("images", 37, "1 to 36"),
        ("model", "", "alias"),
        ("model", "../emoji", "alias"),
        ("model", "emoji\n", "alias"),
        ("model", "é", "alias"),
        ("model", "m" * 65, "alias"),
        ("stop", 9, "10 to 100"),
        ("stop", 101, "10 to 100"),
        ("tile", 1, "true or false"),
        ("tile", "true", "true or false"),
        ("init_image", DIGEST.upper(), "64 lower-case hex"),
        ("init_image", DIGEST[1:], "64 lower-case hex"),
        ("init_image", 5, "64 lower-case hex"),
        ("strength", 0.5, "init_image"),
        ("mask", DIGEST, "init_image"),
        ("clip_skip", 12, "0 to 11"),
        ("guidance_rescale", 1.5, "0 to 1"),
        ("eta", -1, "0 to 1"),
        ("zero_negative", 1, "true or false"),
        ("hires", 0.5, "1 to 4"),
        ("hires_strength", 0.7, "hires is above 1"),
        ("variation_strength", 0.2, "variation_seed"),
        ("variation_seed", -1, "0 to 4294967295"),
        ("controls", "canny", "at most 4"),
        ("controls", [{"model": "canny"}], "keys model, image"),
        ("controls", [{"model": "canny", "image": DIGEST, "weight": 1}], "keys model, image"),
        ("chaos", -1, "0 to 100"),
        ("chaos", 101, "0 to 100"),
        ("chaos", 5.0, "whole number"),
        ("chaos", True, "whole number"),
        ("same_seed", 1, "true or false"),
        ("morph", "a blue fish", "at most 35 prompts"),
        ("morph", ("x",) * 36, "at most 35 prompts"),
        ("morph", ("a", " "), "no words"),
        ("morph", ("x" * 3001,) * 2, "6000 characters in all"),
    ],
)
def test_wrong_values_name_field_value_and_limit(field: str, value: object, message: str) -> None:
    values: dict[str, Any] = {"prompt": "x", field: value}
    with pytest.raises(ParamsError, match=f"(?s)^{field} is .*{message}") as caught:
        Params(**values)
    assert caught.value.field == field
    assert caught.value.value is value or caught.value.value == value
    assert len(str(caught.value)) < 300
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DiffusionError)


@pytest.mark.parametrize("strength", [0, 0.0, -0.1, 1.01, float("nan"), True, "1"])
def test_strength_with_a_picture(strength: object) -> None:
    with pytest.raises(ParamsError, match="above 0 and at most 1") as caught:
        Params(prompt="x", init_image=DIGEST, strength=strength)  # type: ignore[arg-type]
    assert caught.value.field == "strength"
    assert Params(prompt="x", init_image=DIGEST, strength=1).strength == 1.0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "json"),
        ("null", "json"),
        ("[]", "json"),
        ('"x"', "json"),
        ("{", "json"),
        ("{}", "prompt"),
        ('{"prompt":"a"} x', "json"),
        ('{"prompt":"a","prompt":"b"}', "prompt"),
        ('{"prompt":"a","sead":1}', "sead"),
        ('{"prompt":"a","seed":1.0}', "seed"),
        ('{"prompt":"a","seed":true}', "seed"),
        ('{"prompt":"a","seed":null}', "seed"),
        ('{"prompt":"a","guidance_scale":NaN}', "json"),
        ('{"prompt":"a","guidance_scale":-Infinity}', "json"),
        ('{"prompt":"a","guidance_scale":1e999}', "guidance_scale"),
        ('{"prompt":"a","strength":0.5}', "strength"),
        ('{"prompt":"\\ud800"}', "prompt"),
        ('{"prompt":"a","seed":' + "9" * 5000 + "}", "json"),
        ("[" * 60_000, "json"),
        ('{"prompt":"' + "a" * MAX_JSON_LENGTH + '"}', "json"),
    ],
)
def test_bad_json_names_the_field(text: str, field: str) -> None:
    with pytest.raises(ParamsError) as caught:
        Params.from_json(text)
    assert caught.value.field == field
    assert len(str(caught.value)) < 400


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match="did you mean 'guidance_scale'"):
        Params.from_json('{"prompt":"a","guidance_scal":2}')
    with pytest.raises(ParamsError, match="must be a string"):
        Params.from_json(b"{}")  # type: ignore[arg-type]


def test_a_row_written_before_a_key_existed_takes_its_default() -> None:
    assert Params.from_json('{"prompt":"a","seed":9}') == Params(prompt="a", seed=9)


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_from_json_never_fails_otherwise(text: str) -> None:
    try:
        Params.from_json(text)
    except ParamsError as error:
        assert error.field


def test_the_longest_params_fit_their_own_json_limit() -> None:
    longest = "\x01" * MAX_PROMPT_LENGTH
    worst = Params(prompt=longest, negative_prompt=longest, morph=(longest,))
    assert Params.from_json(worst.to_json()) == worst


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "../canny", "alias"),
        ("image", "x", "64 lower-case hex"),
        ("scale", 3, "0 to 2"),
        ("start", 1, "below controls.end"),
        ("end", True, "a number"),
        ("guess", 0, "true or false"),
    ],
)
def test_wrong_controls_name_the_field(field: str, value: object, message: str) -> None:
    values: dict[str, Any] = {"model": "canny", "image": DIGEST, field: value}
    with pytest.raises(ParamsError, match=f"^controls.{field} is .*{message}"):
        Control(**values)


def test_a_morph_has_a_picture_for_each_of_its_prompts() -> None:
    with pytest.raises(ParamsError, match=r"^images is 2: morph needs .* 3 prompts") as caught:
        Params(prompt="a", morph=("b", "c"), images=2)
    assert caught.value.field == "images"
    assert Params(prompt="a", morph=("b", "c"), images=3).morph == ("b", "c")
    assert Params(prompt="a", morph=["b"]).morph == ("b",)  # type: ignore[arg-type]


@pytest.mark.parametrize(("phrase", "message"), [(3, "text"), ("b\0", "NUL"), ("\ud800", "surr")])
def test_a_wrong_prompt_of_a_morph_is_shown(phrase: object, message: str) -> None:
    with pytest.raises(ParamsError, match=f"^morph is .*{message}") as caught:
        Params(prompt="a", morph=("b", phrase))  # type: ignore[arg-type]
    assert caught.value.value is phrase


def test_which_seed_each_picture_draws_from() -> None:
    plain = Params(prompt="a", seed=9, variation_seed=50)
    assert [plain.seed_of(i) for i in range(3)] == [9, 10, 11]
    assert [plain.variation_seed_of(i) for i in range(3)] == [50, 51, 52]
    same = replace(plain, same_seed=True)
    assert [same.seed_of(i) for i in range(3)] == [9, 9, 9]
    assert [same.variation_seed_of(i) for i in range(3)] == [50, 51, 52]
    morph = replace(plain, morph=("b",))
    assert [morph.seed_of(i) for i in range(3)] == [9, 9, 9]
    assert [morph.variation_seed_of(i) for i in range(3)] == [50, 50, 50]
    assert Params(prompt="a").variation_seed_of(1) is None
    last = Params(prompt="a", seed=2**32 - 1, variation_seed=2**32 - 1)
    assert (last.seed_of(1), last.variation_seed_of(2)) == (0, 1)


def test_what_paints_one_picture_alone() -> None:
    plain = Params(prompt="a", seed=9, variation_seed=50)
    assert plain.alone(2) == replace(plain, seed=11, variation_seed=52, images=1)
    same = replace(plain, same_seed=True)
    assert same.alone(2) == replace(plain, seed=9, variation_seed=52, images=1)
    shaken = replace(plain, chaos=5)
    assert shaken.alone(0) == plain.alone(0)
    assert shaken.alone(1) is shaken
    morph = replace(plain, morph=("b",))
    assert morph.alone(0) is morph


def test_steps_run() -> None:
    assert Params(prompt="x").steps_run == 20
    assert Params(prompt="x", stop=60).steps_run == 12
    assert Params(prompt="x", steps=1, stop=10).steps_run == 1
    assert Params(prompt="x", steps=15, stop=10).steps_run == 2


def test_the_error_survives_a_process_boundary() -> None:
    error = ParamsError("seed", -1, "must be from 0")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.field, again.value, again.advice) == ("seed", -1, "must be from 0")
    assert str(again) == str(error) == "seed is -1: must be from 0"
