"""From what was typed to `Params`: who wins, sizes, steps, seeds, and refusals with a place."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import Config, DefaultsConfig, LimitsConfig
from bot.prompt import Aspect, PromptError, parse
from bot.resolve import Options, fit, resolve, to_text
from diffusion import ModelDefaults, ModelInfo, Params

EMOJI = ModelInfo(
    name="Easel emoji",
    family="emoji",
    path="/m/emoji",
    native_width=64,
    native_height=64,
    size_multiple=8,
    display_scale=4,
    defaults=ModelDefaults(steps=25, guidance_scale=3.5, sampler="dpmpp_2m", schedule="karras"),
    sha256=None,
)
LARGE = replace(
    EMOJI, name="Large", family="sd1", native_width=512, native_height=512, size_multiple=64
)
MODELS = {"emoji": EMOJI, "large": LARGE}
CONFIG = Config()


def one(text: str, config: Config = CONFIG, options: Options | None = None) -> Params:
    """Resolve a prompt of one run."""
    (params,) = resolve(parse(text), models=MODELS, config=config, seed=11, options=options)
    return params


def refused(text: str, config: Config = CONFIG, options: Options | None = None) -> PromptError:
    """Return the error a prompt gives."""
    with pytest.raises(PromptError) as caught:
        one(text, config, options)
    return caught.value


def test_a_prompt_alone_takes_everything_from_the_model() -> None:
    assert one("a cat") == Params(
        prompt="a cat",
        seed=11,
        steps=25,
        guidance_scale=3.5,
        sampler="dpmpp_2m",
        schedule="karras",
        width=64,
        height=64,
        images=4,
        model="emoji",
    )


def test_the_configuration_wins_over_the_model() -> None:
    defaults = DefaultsConfig(
        model="large", images=2, steps=10, guidance_scale=5.0, sampler="ddim", schedule="uniform"
    )
    params = one("a cat", Config(defaults=defaults))
    assert (params.model, params.images, params.steps) == ("large", 2, 10)
    assert (params.guidance_scale, params.sampler, params.schedule) == (5.0, "ddim", "uniform")
    assert (params.width, params.height) == (512, 512)


def test_options_win_over_the_configuration_and_flags_over_options() -> None:
    assert one("a cat", options=Options(model="large")).model == "large"
    assert one("a cat --model emoji", options=Options(model="large")).model == "emoji"


def test_flags_win_over_all() -> None:
    text = (
        "a cat --no dog --seed 0 --steps 12 --cfg 1 --sampler Euler a --schedule uniform "
        "--stop 40 --tile --model large --ar 3:2"
    )
    config = Config(defaults=DefaultsConfig(steps=10, guidance_scale=5.0, sampler="ddim"))
    params = one(text, config)
    assert params.negative_prompt == "dog"
    assert params.seed == 0
    assert params.steps == 12
    assert params.guidance_scale == 1.0
    assert (params.sampler, params.schedule) == ("euler_a", "uniform")
    assert (params.stop, params.tile, params.model) == (40, True, "large")
    assert params.width > params.height


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a --quality .25", 6),
        ("a --quality .5", 13),
        ("a --quality 1", 25),
        ("a --quality 2", 50),
        ("a --quality 2 --steps 7", 14),
        ("a --quality .25 --steps 1", 1),
        ("a --quality .5 --steps 1", 1),
        ("a --quality .25 --steps 2", 1),
    ],
)
def test_quality_multiplies_the_steps(text: str, steps: int) -> None:
    assert one(text).steps == steps


def test_repeats_follow_each_other_without_sharing_a_picture() -> None:
    runs = resolve(parse("a --seed 100 --repeat 3"), models=MODELS, config=CONFIG, seed=11)
    assert [run.seed for run in runs] == [100, 104, 108]
    assert len({replace(run, seed=0) for run in runs}) == 1
    drawn = resolve(parse("a --repeat 3"), models=MODELS, config=CONFIG, seed=11)
    assert [run.seed for run in drawn] == [11, 15, 19]
    assert [one(f"a --seed {run.seed}") for run in drawn] == list(drawn)
    last = resolve(parse("a --seed 4294967295 --repeat 2"), models=MODELS, config=CONFIG, seed=0)
    assert [run.seed for run in last] == [4294967295, 3]


@pytest.mark.parametrize(
    ("aspect", "model", "size"),
    [
        ((1, 1), EMOJI, (64, 64)),
        ((3, 2), EMOJI, (80, 56)),
        ((2, 3), EMOJI, (56, 80)),
        ((16, 9), EMOJI, (88, 48)),
        ((1, 1), LARGE, (512, 512)),
        ((3, 2), LARGE, (640, 448)),
        ((2, 1), LARGE, (704, 384)),
        ((3, 2), replace(LARGE, size_multiple=8), (624, 416)),
        ((16, 9), replace(LARGE, size_multiple=8), (680, 384)),
    ],
)
def test_sizes_of_common_shapes(
    aspect: tuple[int, int], model: ModelInfo, size: tuple[int, int]
) -> None:
    shape = Aspect(width=aspect[0], height=aspect[1])
    assert fit(shape, model, max_pixels=10**7) == size


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from([8, 16, 32, 64]),
    st.integers(4, 16),
    st.integers(4, 16),
    st.integers(2_000, 2_000_000),
)
@settings(deadline=None)
def test_sizes_keep_area_shape_and_multiples(
    wide: int, high: int, unit: int, columns: int, rows: int, max_pixels: int
) -> None:
    model = replace(EMOJI, native_width=64 * columns, native_height=64 * rows, size_multiple=unit)
    ratio = wide / high
    if not 1 / 4 <= ratio <= 4 or max_pixels < 16 * unit * unit:
        return
    width, height = fit(Aspect(width=wide, height=high), model, max_pixels=max_pixels)
    area = min(64 * columns * 64 * rows, max_pixels)
    assert width % unit == height % unit == 0
    assert width * height <= max_pixels
    # Half a unit on the shorter side is the most that snapping can cost; a limit costs one more.
    shorter = math.sqrt(area / max(ratio, 1 / ratio))
    slack = 2 * math.log1p(unit / max(unit, shorter - unit)) + 1e-9
    assert abs(math.log(width * height / area)) <= slack
    assert abs(math.log(width / height / ratio)) <= slack


def test_a_wide_shape_and_its_tall_twin_have_the_same_sides() -> None:
    for wide in range(1, 30):
        one_way = fit(Aspect(width=wide, height=10), LARGE, max_pixels=10**7)
        other_way = fit(Aspect(width=10, height=wide), LARGE, max_pixels=10**7)
        assert one_way == other_way[::-1]


def test_a_native_shape_that_is_not_square_stays() -> None:
    tall = replace(LARGE, native_width=512, native_height=768)
    (params,) = resolve(parse("a --model t"), models=MODELS | {"t": tall}, config=CONFIG, seed=1)
    assert (params.width, params.height) == (512, 768)


def test_the_servers_limit_makes_pictures_smaller_in_the_same_shape() -> None:
    config = Config(limits=LimitsConfig(max_pixels=256 * 256))
    params = one("a --model large --ar 1:1", config)
    assert (params.width, params.height) == (256, 256)
    wide = one("a --model large --ar 2:1", config)
    assert wide.width * wide.height <= 256 * 256
    assert 1.5 <= wide.width / wide.height <= 2.5


@pytest.mark.parametrize(
    ("text", "place", "suggestion"),
    [
        ("a --model emojy --tile", "emojy", "a --model emoji --tile"),
        ("a --v 6", "6", "a"),
        ("a --repeat 9", "9", "a --repeat 4"),
        ("a --steps 500", "500", "a --steps 150"),
        ("a --steps 100 --q 2", "100", "a --steps 75 --q 2"),
        ("a --ar 10:1", "10:1", "a --ar 4:1"),
        ("a --ar 1:10", "1:10", "a --ar 1:4"),
    ],
)
def test_what_the_server_does_not_allow_has_its_place_and_a_way_out(
    text: str, place: str, suggestion: str
) -> None:
    error = refused(text)
    assert error.text[error.start : error.end] == place
    assert error.suggestion == suggestion
    assert one_or_more(suggestion)


def one_or_more(text: str) -> tuple[Params, ...]:
    """Resolve a prompt of any number of runs."""
    return resolve(parse(text), models=MODELS, config=CONFIG, seed=11)


def test_quality_alone_can_be_too_much() -> None:
    config = Config(limits=LimitsConfig(max_steps=30))
    error = refused("a --q 2", config)
    assert "50" in error.message
    assert error.suggestion == "a"


def test_a_model_that_no_flag_named_is_refused_without_a_place() -> None:
    error = refused("a cat", options=Options(model="gone"))
    assert "gone" in error.message
    assert "emoji, large" in error.message
    assert error.suggestion is None
    assert (error.start, error.end) == (0, len("a cat"))


PROMPTS = st.builds(
    lambda words, flags: " ".join([words, *flags]),
    st.text(min_size=1, max_size=40),
    st.lists(
        st.sampled_from(
            [
                "--ar 3:2",
                "--ar 1:4",
                "--no a, b",
                "--seed 5",
                "--steps 33",
                "--cfg 3.123456789",
                "--sampler 'Euler a'",
                "--schedule karras",
                "--q .5",
                "--stop 33",
                "--tile",
                "--model large",
                "--model emoji",
            ]
        ),
        max_size=6,
    ),
)


@given(PROMPTS, st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_what_info_offers_to_copy_gives_the_same_params(text: str, seed: int) -> None:
    try:
        parsed = parse(text)
    except PromptError:
        return
    (params,) = resolve(parsed, models=MODELS, config=CONFIG, seed=seed)
    again = resolve(
        parse(to_text(params, MODELS[params.model])), models=MODELS, config=CONFIG, seed=1
    )
    assert again == (params,)


def test_the_same_input_gives_the_same_params() -> None:
    text = "a cat --ar 3:2 --no x"
    assert one(text) == one(text)
    assert Params.from_json(one(text).to_json()) == one(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a cat::1 a dog::-2", "cannot be read"),
        ("a cat <lora:fur:much>", "cannot be read"),
        ("a cat --no a dog AND a bird", "one condition"),
    ],
)
def test_weights_and_tags_that_cannot_be_painted_are_refused_at_once(text: str, said: str) -> None:
    assert said in refused(text).message


def test_syntax_of_the_prompt_is_kept_as_it_was_typed() -> None:
    text = "a (cat:1.2) [with:without:0.5] hat <lora:fur:0.8> AND a red one :0.7"
    assert one(text).prompt == text
