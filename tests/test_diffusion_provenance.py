"""The text beside a picture: A1111's format, there and back again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diffusion import SAMPLERS, SCHEDULES, Control, Params, ParamsError
from diffusion.provenance import (
    Provenance,
    parameters_text,
    parse_parameters,
    parse_params,
    software_name,
    xmp_packet,
)

DIGEST = "0f" * 32


def provenance(params: Params, index: int = 1, **changes: str | None) -> Provenance:
    values: dict[str, str | None] = {
        "job_id": "abcdefghijklm",
        "model_name": "emoji",
        "model_sha256": "ab" * 32,
        "software": "Easel 0.1.0",
    }
    return Provenance(params=params, index=index, **(values | changes))  # type: ignore[arg-type]


def test_the_text_is_a1111_s() -> None:
    params = Params(
        prompt="a red fox",
        negative_prompt="blurry",
        seed=7,
        schedule="karras",
        width=512,
        height=768,
    )
    assert parameters_text(provenance(params)) == (
        "a red fox\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, "
        "Size: 512x768, Model hash: ababababab, Model: emoji, Job: abcdefghijklm, Index: 1, "
        "Version: Easel 0.1.0"
    )


def test_what_is_not_there_is_not_written() -> None:
    text = parameters_text(provenance(Params(prompt="x"), model_sha256=None))
    for absent in ("Negative prompt", "Model hash", "Tiling", "Stop", "Denoising", "Alias"):
        assert absent not in text


def test_a_tile_tells_the_seed_that_paints_it_alone() -> None:
    params = Params(prompt="x", seed=40, images=4)
    assert "Seed: 42," in parameters_text(provenance(params, index=3))
    assert "Seed: 40," in parameters_text(provenance(params, index=1))
    grid = parameters_text(provenance(params, index=0))
    assert "Seed: 40," in grid
    assert "Images: 4" in grid


prompts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60) | st.lists(
    st.sampled_from(
        [
            "\n",
            "\r\n",
            "\u2028",
            "Negative prompt: ",
            "Negative prompt:",
            "Steps: 20, Sampler: Euler, Seed: 3",
            "Prompt length: 2",
            ", ",
            "a",
            " ",
            '"',
            "\\",
            "😀",
        ]
    ),
    max_size=8,
).map("".join)


@st.composite
def all_params(draw: st.DrawFn) -> Params:
    init_image = draw(st.none() | st.just(DIGEST))
    return Params(
        prompt=draw(prompts),
        negative_prompt=draw(prompts),
        seed=draw(st.integers(0, 2**32 - 1)),
        steps=draw(st.integers(1, 1000)),
        guidance_scale=draw(st.floats(1, 100)),
        sampler=draw(st.sampled_from(SAMPLERS)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        width=draw(st.integers(1, 1024)) * 8,
        height=draw(st.integers(1, 1024)) * 8,
        images=draw(st.integers(3, 36)),
        model=draw(st.sampled_from(["emoji", "sd-1.5", "X_1"])),
        stop=draw(st.integers(10, 100)),
        tile=draw(st.booleans()),
        init_image=init_image,
        strength=draw(st.floats(0.01, 1)) if init_image else 0.75,
        mask=draw(st.none() | st.just(DIGEST)) if init_image else None,
        clip_skip=draw(st.integers(0, 11)),
        guidance_rescale=draw(st.floats(0, 1)),
        eta=draw(st.none() | st.floats(0, 1)),
        zero_negative=draw(st.none() | st.booleans()),
        hires=draw(st.sampled_from([1.5, 2.0])),
        hires_strength=draw(st.floats(0.1, 1)),
        variation_seed=draw(st.none() | st.integers(0, 2**32 - 1)),
        controls=draw(st.sampled_from([(), (Control(model="canny", image=DIGEST, scale=0.7),)])),
        chaos=draw(st.sampled_from([0, 40])),
        same_seed=draw(st.booleans()),
        morph=draw(st.sampled_from([(), ('a "b", c', "Negative prompt: é")])),
    )


@given(
    params=all_params(),
    index=st.integers(0, 16),
    model_name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
)
@example(params=Params(prompt="\nNegative prompt: "), index=0, model_name="emoji")
@example(params=Params(prompt="a\nNegative prompt: b"), index=0, model_name='"')
@example(params=Params(prompt="", negative_prompt="x"), index=0, model_name=" ")
@example(params=Params(prompt="a, b: c, d: e, f: g"), index=0, model_name='a "b", c')
def test_there_and_back(params: Params, index: int, model_name: str) -> None:
    text = parameters_text(provenance(params, index, model_name=model_name))
    expected = params.alone(index - 1) if index else params
    assert parse_params(text) == expected
    # Whoever made the name, it stays one setting.
    settings = parse_parameters(text).settings
    assert (settings["Model"], settings["Job"]) == (model_name, "abcdefghijklm")


def test_the_prompt_length_is_told_only_where_it_must_be() -> None:
    assert "Prompt length" not in parameters_text(provenance(Params(prompt="two\nlines")))
    ambiguous = Params(prompt="two\nNegative prompt: lines")
    assert "Prompt length: 26" in parameters_text(provenance(ambiguous))


def test_a_text_by_a1111() -> None:
    text = (
        "a castle, (masterpiece:1.2),\n<lora:x:1>\n"
        "Negative prompt: ugly,\nbad\n"
        "Steps: 30, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 965400086, "
        "Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned, Clip skip: 2, "
        'Lora hashes: "x: 1, y: 2", Version: v1.9.4'
    )
    parsed = parse_parameters(text)
    assert parsed.prompt == "a castle, (masterpiece:1.2),\n<lora:x:1>"
    assert parsed.negative_prompt == "ugly,\nbad"
    assert parsed.settings["Lora hashes"] == "x: 1, y: 2"
    assert parsed.settings["Model"] == "v1-5-pruned"
    params = parse_params(text)
    assert (params.sampler, params.schedule) == ("euler_a", "uniform")
    assert (params.seed, params.width, params.height, params.images) == (965400086, 512, 768, 1)
    # Somebody else's file name is not one of our models.
    assert params.model == "emoji"


def test_the_first_negative_prompt_counts_as_in_a1111() -> None:
    parsed = parse_parameters(
        "a\nNegative prompt: b\nNegative prompt: c\nSteps: 1, Seed: 2, ENSD: 3"
    )
    assert (parsed.prompt, parsed.negative_prompt) == ("a", "b\nNegative prompt: c")


def test_an_older_a1111_names_the_schedule_in_the_sampler() -> None:
    params = parse_params("x\nSteps: 8, Sampler: DPM++ 2M Karras, CFG scale: 5, Seed: 1")
    assert (params.sampler, params.schedule) == ("dpmpp_2m", "karras")


def test_img2img_by_others_has_no_picture_to_start_from() -> None:
    params = parse_params("x\nSteps: 8, Seed: 1, Size: 64x64, Denoising strength: 0.4")
    assert (params.init_image, params.strength) == (None, 0.75)


@pytest.mark.parametrize("text", ["", "only a prompt", "a\nb: c, d: e", "\n\n"])
def test_a_text_without_settings_is_a_prompt(text: str) -> None:
    parsed = parse_parameters(text)
    assert (parsed.prompt, parsed.negative_prompt, dict(parsed.settings)) == (text, "", {})


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("Steps: many", "steps"),
        ("Steps: 5000", "steps"),
        ("Seed: -1", "seed"),
        ("Seed: 99999999999999999999999", "seed"),
        ("Sampler: Restart", "sampler"),
        ("Schedule type: Beta", "schedule"),
        ("CFG scale: nan", "guidance_scale"),
        ("CFG scale: x", "guidance_scale"),
        ("Size: 512", "width"),
        ("Size: 512x511", "height"),
        ("Tiling: maybe", "tile"),
        ("Init image: x", "init_image"),
    ],
)
def test_settings_beyond_ours_are_named(setting: str, field: str) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_params(f"x\n{setting}, Clip skip: 1, ENSD: 1, RNG: CPU")
    assert caught.value.field == field


@given(st.text())
def test_any_text_is_taken_apart(text: str) -> None:
    parse_parameters(text)
    parse_parameters(text + "\nSteps: 1, Seed: 2, Prompt length: 999999999999999, Size: 1x1")
    try:
        parse_params(text)
    except ParamsError as error:
        assert error.field


def test_software_and_mark() -> None:
    assert software_name().startswith("Easel")
    packet = xmp_packet(provenance(Params(prompt="a secret"), software='E "<&'))
    assert "trainedAlgorithmicMedia" in packet
    assert "a secret" not in packet
    assert "&lt;&amp;" in packet
