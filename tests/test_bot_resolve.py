"""From what was typed to `Params`: who wins, sizes, steps, seeds, and refusals with a place."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import Config, DefaultsConfig, LimitsConfig, ModelConfig
from bot.config_models import PresetConfig
from bot.prompt import Aspect, PromptError, parse
from bot.resolve import Options, Run, Settings, fit, resolve, resolve_runs, to_text
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
INK = PresetConfig(
    prompt="ink drawing of {prompt}, bold",
    negative="colour",
    flags="--ar 3:2 --cfg 6 --model large",
)
STYLED = Config(
    presets={"ink": INK},
    defaults=DefaultsConfig(house_style="soft light"),
    models={"emoji": ModelConfig(path="emoji", names=("niji", "6"))},
)


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
                "--chaos 40",
                "--sameseed",
                "--hires 1.37",
                "--clip 2",
                "--s 250",
                "--style raw",
                "--preset ink",
                "--draft",
                "{b|c|}",
                "x::2 y::-1",
                r"\{z\} __w__",
            ]
        ),
        max_size=6,
    ),
)


@given(PROMPTS, st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_what_info_offers_to_copy_gives_the_same_params(text: str, seed: int) -> None:
    try:
        (params,) = (
            run.params
            for run in resolve_runs(
                parse(text), models=MODELS, config=STYLED, seed=seed, lists={"w": ("red", "blue")}
            )
        )
    except PromptError:
        return
    written = to_text(params, MODELS[params.model], STYLED)
    assert resolve(parse(written), models=MODELS, config=STYLED, seed=1) == (params,)


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


def run(
    text: str,
    config: Config = STYLED,
    *,
    seed: int = 11,
    settings: Settings | None = None,
    options: Options | None = None,
) -> Run:
    """Resolve a prompt of one run, with word lists and settings."""
    options = options or Options(settings=settings or Settings())
    lists = {"colour": ("red", "green", "blue")}
    (found,) = resolve_runs(
        parse(text), models=MODELS, config=config, seed=seed, options=options, lists=lists
    )
    return found


def test_new_flags_become_params() -> None:
    params = one("a cat --chaos 30 --sameseed --hires 1.5 --clip 2")
    assert (params.chaos, params.same_seed, params.hires, params.clip_skip) == (30, True, 1.5, 1)
    assert one("a cat").chaos == 0


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a cat", "a cat, soft light"),
        ("a cat --s 50", "a cat, (soft light:0.5)"),
        ("a cat --stylize 0", "a cat"),
        ("a cat --style raw", "a cat"),
        ("a cat --raw --s 250", "a cat, (soft light:2.5)"),
        ("a::2 b::-0.5", "a, soft light::2 b::-0.5"),
        ("a cat --preset ink", "ink drawing of a cat, bold, soft light"),
        ("a cat --style ink --raw", "ink drawing of a cat, bold"),
        (
            "a AND b --style ink --raw",
            "ink drawing of a, bold AND ink drawing of b, bold",
        ),
    ],
)
def test_house_style_and_templates(text: str, prompt: str) -> None:
    assert run(text).params.prompt == prompt


def test_a_template_brings_flags_and_a_negative_prompt() -> None:
    params = run("a cat --preset ink --no frame").params
    assert params.negative_prompt == "frame, colour"
    assert (params.width, params.height, params.model) == (640, 448, "large")
    assert params.guidance_scale == 6
    typed = run("a cat --preset ink --ar 1:1 --niji").params
    assert (typed.width, typed.height, typed.model) == (64, 64, "emoji")
    option = run("a cat", options=Options(preset="ink", model="emoji")).params
    assert (option.model, option.width > option.height) == ("emoji", True)
    assert run("a cat --preset ink", options=Options(preset="nosuch")).params.model == "large"


@pytest.mark.parametrize(
    ("text", "place", "suggestion"),
    [
        ("a cat --preset ikn", "ikn", "a cat --preset ink"),
        ("a cat --style nosuch", "nosuch", "a cat"),
        ("a cat --niji 7", "7", "a cat"),
        ("a cat --weird 500 --tile", "500", "a cat --tile"),
        ("a cat --sref #0abc", "#0abc", "a cat"),
        ("a cat --cref #0abc --cw 5", "#0abc", "a cat --cw 5"),
        ("a cat --sw 50", "50", "a cat"),
        ("a cat --vae other", "other", "a cat --vae auto"),
        ("a cat --iw 2", "2", "a cat"),
        ("a cat --strength .5", ".5", "a cat"),
        ("a cat --model large --hires 2 --tile", "2", "a cat --model large --hires 1.06 --tile"),
        ("a cat --no x::2", "x::2", "a cat"),
        ("a::2 b --no x AND y", "x AND y", "a::2 b"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_its_place(
    text: str, place: str, suggestion: str
) -> None:
    config = STYLED.model_copy(update={"limits": LimitsConfig(max_pixels=300_000)})
    error = refused(text, config)
    assert error.text[error.start : error.end] == place
    assert error.suggestion == suggestion


def test_what_asks_for_nothing_is_no_fault() -> None:
    assert one("a cat --weird 0 --vae auto").prompt == "a cat"


def test_names_of_models_are_the_configuration_s() -> None:
    assert run("a cat --niji").params.model == "emoji"
    assert run("a cat --v 6").params.model == "emoji"


def test_unwanted_things_are_a_part_of_a_multi_prompt() -> None:
    params = one("a::2 b --no c, d")
    assert (params.prompt, params.negative_prompt) == ("a::2 b:: c, d::-0.5", "")
    assert one("a cat --no c, d").negative_prompt == "c, d"
    assert "cannot be read" in refused("a::0.5 --no c").message


def test_who_wins() -> None:
    own = Settings(model="large", quality=0.5, stylize=50, share="relax", private=True)
    params = run("a cat", settings=own).params
    assert (params.model, params.steps) == ("large", 13)
    assert params.prompt == "a cat, (soft light:0.5)"
    flags = run("a cat --q 2 --s 0 --fast --model emoji", settings=own)
    assert (flags.params.model, flags.params.steps, flags.params.prompt) == ("emoji", 50, "a cat")
    assert flags.details == {"quality": 2.0, "private": True}
    option = Options(model="emoji", settings=own)
    assert run("a cat", options=option).params.model == "emoji"
    assert run("a cat", settings=Settings(raw=True)).params.prompt == "a cat"
    assert run("a cat", settings=Settings(model="gone")).params.model == "emoji"
    # What was typed as a number of steps is that number, whatever somebody usually wants.
    assert run("a cat --steps 20", settings=own).params.steps == 20


@pytest.mark.parametrize(
    ("text", "steps", "details"),
    [
        ("a cat", 25, {}),
        ("a cat --fast", 25, {}),
        ("a cat --turbo", 25, {}),
        ("a cat --relax", 25, {"share": "relax"}),
        ("a cat --draft", 13, {"share": "draft"}),
        ("a cat --draft --steps 20", 20, {"share": "draft"}),
        ("a cat --draft --q .5", 6, {"share": "draft", "quality": 0.5}),
        ("a cat --video", 25, {"video": True}),
    ],
)
def test_classes_and_details(text: str, steps: int, details: dict[str, object]) -> None:
    found = run(text)
    assert found.params.steps == steps
    assert found.details == details


@pytest.mark.parametrize(
    ("text", "strength"),
    [("", 0.75), ("--iw 1", 0.75), ("--iw 0", 1.0), ("--iw 3", 0.25), ("--strength .6", 0.6)],
)
def test_a_picture_and_how_much_of_it_stays(text: str, strength: float) -> None:
    found = run(f"a cat {text}", options=Options(image="ab" * 32)).params
    assert found.init_image == "ab" * 32
    assert found.strength == pytest.approx(strength)


def test_a_strength_of_nothing_is_refused() -> None:
    with pytest.raises(PromptError, match="would paint nothing"):
        run("a cat --strength 0", options=Options(image="ab" * 32))


def test_wildcards_are_drawn_from_each_run_s_own_seed() -> None:
    text = "a {red|green|blue} cat --no {dog|bird} --raw"
    found = run(text, seed=5)
    assert found == run(text, seed=5)
    assert found.params.prompt in {f"a {colour} cat" for colour in ("red", "green", "blue")}
    negative = found.params.negative_prompt
    assert found.text == f"{found.params.prompt} --no {negative} --raw"
    assert found.details["typed"] == text
    plain = run(r"a \{red|green\} \_\_cat\_\_ --no \{x\}", CONFIG)
    assert (plain.params.prompt, plain.params.negative_prompt) == ("a {red|green} __cat__", "{x}")
    assert plain.text == r"a \{red|green\} \_\_cat\_\_ --no \{x\}"
    typed = run("a cat --seed 5", seed=9)
    assert typed.text == "a cat --seed 5"
    assert "typed" not in typed.details
    many = resolve_runs(
        parse("a {red|green|blue} cat --repeat 4"), models=MODELS, config=CONFIG, seed=5
    )
    assert len({each.params.prompt for each in many}) > 1
    for each in many:
        alone = one(f"a {{red|green|blue}} cat --seed {each.params.seed}")
        assert alone == each.params


def test_a_draw_never_brings_in_flags_or_nothing() -> None:
    with pytest.raises(PromptError, match="no words"):
        run("{|}")
    with pytest.raises(PromptError, match="no word list “colours” on this server"):
        run("a __colours__ cat")
    assert "holds a flag" in refused("a {-|-}{-|-}tile x {--tile|--tile}").message


def test_large_models_of_the_xl_kind_have_their_trained_sizes() -> None:
    xl = replace(LARGE, family="sdxl", native_width=1024, native_height=1024)
    for aspect, size in {(1, 1): (1024, 1024), (16, 9): (1344, 768), (2, 3): (832, 1216)}.items():
        assert fit(Aspect(width=aspect[0], height=aspect[1]), xl, max_pixels=2_000_000) == size
    assert fit(Aspect(width=4, height=1), xl, max_pixels=2_000_000) == (2048, 512)
    small = fit(Aspect(width=1, height=1), xl, max_pixels=300_000)
    assert small[0] * small[1] <= 300_000


def test_a_style_that_makes_a_prompt_too_long_is_refused() -> None:
    words = "x" * 5990
    assert "longer than" in refused(words, STYLED).message
