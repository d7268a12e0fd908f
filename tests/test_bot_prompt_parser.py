"""The prompt grammar as a whole: what parses, what is refused, and that it is total."""

import random
import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import diffusion
from bot.prompt import (
    FLAGS,
    LATER,
    Aspect,
    Flag,
    Kind,
    ParsedPrompt,
    PromptError,
    parse,
    to_text,
)

WORDS = (
    'cat a red 🦊 猫 — -- - @everyone :: {a,b} ` " “ ” x--ar --no —no -ar no ar 3:2 7 -1 Euler a '
    "0.5 99999999999 heun karras yes ² ٣ 16x9 0:0 1e5 , ; 1/0 .. 1.85:1 = https://a.b/c.png İ ß"
)
SIGNS = ("\u202e", "\n", "\x00", "\ud800", "\u3000", "\u200b", "--" + "x" * 60)
PIECES = (*WORDS.split(), *SIGNS)
FLAG_NAMES = [f"--{name}" for flag in FLAGS for name in flag.names]
LATER_NAMES = [f"--{name}" for later in LATER for name in later.names]


def fault(text: str) -> PromptError:
    """Return the error a text gives."""
    with pytest.raises(PromptError) as caught:
        parse(text)
    return caught.value


def marked(error: PromptError) -> str:
    """Return the part of the text an error points at."""
    return error.text[error.start : error.end]


def random_prompt(source: random.Random) -> str:
    """Put a prompt together from words, flags, values and random signs."""
    parts = []
    for _ in range(source.randint(0, 12)):
        if source.random() < 0.15:
            parts.append("".join(chr(source.randint(0, 0x10FFFF)) for _ in range(4)))
        else:
            parts.append(source.choice(source.choice((PIECES, FLAG_NAMES, LATER_NAMES))))
    return source.choice((" ", " ", " ", "")).join(parts)


def check_total(text: str) -> None:
    """Check everything that holds for any text at all."""
    try:
        parsed = parse(text)
    except PromptError as error:
        assert error.message
        assert 0 <= error.start <= error.end <= len(error.text)
        lines = error.caret().split("\n")
        assert len(lines) == 2
        assert set(lines[1]) <= set(" \u3000^")
        assert "^" in lines[1]
        assert len(error.caret().splitlines()) == 2
        if error.suggestion is not None:
            assert isinstance(parse(error.suggestion), ParsedPrompt)
    else:
        assert parsed.prompt.strip()
        if len(text) <= 6000:
            without = parsed.negative_prompt or ""
            assert diffusion.Params(prompt=parsed.prompt, negative_prompt=without)


def test_words_and_every_flag() -> None:
    parsed = parse(
        "a red heart, 4k --ar 3:2 --no text,  frame --seed 0 --steps 28 --cfg 6.5 "
        "--sampler Euler a --schedule karras --quality .5 --stop 60 --tile --repeat 3 --model Emoji"
    )
    assert parsed.prompt == "a red heart, 4k"
    assert parsed.aspect == Aspect(width=3, height=2)
    assert parsed.negative_prompt == "text, frame"
    assert parsed.seed == 0
    assert parsed.steps == 28
    assert parsed.guidance_scale == 6.5
    assert parsed.sampler == "euler_a"
    assert parsed.schedule == "karras"
    assert parsed.quality == 0.5
    assert parsed.stop == 60
    assert parsed.tile is True
    assert parsed.repeat == 3
    assert parsed.model == "emoji"


def test_the_flags_of_midjourney() -> None:
    parsed = parse(
        "a heart --chaos 30 --s 250 --style raw --iw 1.5 --sref #0abc --sw 20 --cref #0abd --cw 0 "
        "--niji 6 --hires 1.5 --turbo --video --weird 0 --clip 2 --vae auto --sameseed"
    )
    assert (parsed.chaos, parsed.stylize, parsed.raw, parsed.preset) == (30, 250, True, None)
    assert (parsed.iw, parsed.strength) == (1.5, None)
    assert (parsed.sref, parsed.sw, parsed.cref, parsed.cw) == ("#0abc", 20, "#0abd", 0)
    assert (parsed.model, parsed.hires, parsed.share) == ("niji-6", 1.5, "turbo")
    assert (parsed.video, parsed.weird, parsed.clip, parsed.vae) == (True, 0, 2, "auto")
    assert parsed.sameseed
    assert parse("a heart --niji --tile").model == "niji"
    assert parse("a heart --style Sticker --raw").preset == "sticker"


@pytest.mark.parametrize(
    "text",
    [
        "prompt: a heart --ar 3:2",
        "/imagine prompt: a heart --ar 3:2",
        "/imagine prompt:a heart --ar 3:2",
        "/imagine a heart --ar 3:2",
        " Prompt ： a heart --ar 3:2",
    ],
)
def test_the_name_of_the_option_is_no_word(text: str) -> None:
    parsed = parse(text)
    assert parsed.prompt == "a heart"
    assert parsed.text[parsed.spans["ar"].flag :] == "--ar 3:2"


def test_no_flags_means_nothing_is_set() -> None:
    parsed = parse("  a   cat\nin a hat ")
    assert parsed == ParsedPrompt(text="  a   cat in a hat ", prompt="a cat in a hat")


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_spelling_of_every_flag_works_with_its_example(flag: Flag) -> None:
    for name in flag.names:
        assert flag.name in parse(f"cat --{name} {flag.example}").spans
        assert flag.name in parse(f"cat --{name.upper()} {flag.example}").spans


@pytest.mark.parametrize("name", LATER_NAMES)
def test_a_flag_of_a_later_version_gets_a_sentence(name: str) -> None:
    error = fault(f"a cat {name} 50 --seed 7")
    assert f"does not have {name} yet" in error.message
    assert marked(error) == name
    assert error.suggestion is not None
    assert parse(error.suggestion).seed == 7
    assert error.suggestion.split()[:3] != ["a", "cat", name]


@pytest.mark.parametrize("dash", ["—", "–", "--", "---", "—-", "−−", "－－", "--\u200b"])
def test_dashes_that_phones_make(dash: str) -> None:
    assert parse(f"a cat {dash}ar 3:2").aspect == Aspect(width=3, height=2)


@pytest.mark.parametrize(
    "text",
    [
        "a cat — the fluffy one — sits",
        "a cat—the fluffy one",
        "夏——それは夢",
        "well--known painter",
        "a cat -- asleep",
        "a cat -- tile",
        "a cat - tile",
        "a cat—tile",
        "wood-tile floor",
        "top-r 5 list",
        "semi-ar 3 glass",
        "cat --",
        "2001 --1 a",
        "a::2 b::-0.5 {red, green} (c:1.3) [d:e:0.5] {f|g} __file__",
    ],
)
def test_prose_stays_prose(text: str) -> None:
    parsed = parse(text)
    assert parsed.prompt == text
    assert not parsed.spans


@pytest.mark.parametrize(
    ("text", "place", "suggestion"),
    [
        ("a cat --apsect 3:2", "--apsect", "a cat --aspect 3:2"),
        ("cat --ar 3:2 in hat --seed 3 of x", "in hat", "cat in hat of x --ar 3:2 --seed 3"),
        ("a cat --ar3:2", "--ar3:2", "a cat --ar 3:2"),
        ("a cat --seed7", "--seed7", "a cat --seed 7"),
        ("a cat--ar 3:2", "--ar", "a cat --ar 3:2"),
        ("a cat—ar 3:2", "—ar", "a cat --ar 3:2"),
        ("a cat -ar 3:2", "-ar", "a cat --ar 3:2"),
        ("a cat -- ar 3:2", "-- ar", "a cat --ar 3:2"),
        ("a cat--tile", "--tile", "a cat --tile"),
        ("a cat --seed", "--seed", "a cat"),
        ("a cat --no --tile", "--no", "a cat --tile"),
        ("a cat --no ,, --tile", "--no", "a cat ,, --tile"),
        ("a cat --seed 1 --seed 2", "--seed", "a cat --seed 2"),
        ("a cat --no dog --no frog, bird --tile", "--no", "a cat --no dog, frog, bird --tile"),
        ("a cat --tile, --ar 3:2, --seed 7", "--tile,", "a cat --tile --ar 3:2 --seed 7"),
        ("a cat --tile --ar 3:2 ; --seed 7", ";", "a cat --tile --ar 3:2 --seed 7"),
        ("a cat --tile yes", "yes", "a cat --tile"),
        ("a cat --tile false", "false", "a cat"),
        ("a cat --tile in blue", "in blue", "a cat in blue --tile"),
        ("a cat --seed 7 yes", "yes", "a cat yes --seed 7"),
        ("see https://x.y/z.png cat", "https://x.y/z.png", "see cat"),
        ("a cat www.x.y/z.png", "www.x.y/z.png", "a cat"),
        ("a cat --no data:image/png;base64,AA", "data:image/png;base64,AA", "a cat"),
        ('a cat --ar "3:2', '"', "a cat --ar 3:2"),
        ("a cat —the best", "—the", "a cat — the best"),
        ("a cat --fluffy with a hat --tile", "--fluffy", "a cat fluffy with a hat --tile"),
        ("a cat --blibble 12 --tile", "--blibble", "a cat --tile"),
        ("a cat --oref 50 --profile 20 --steps 9999", "--oref", "a cat --steps 1000"),
        ("a cat --choas 50", "--choas", "a cat --chaos 50"),
        ("a cat --chaos 101", "101", "a cat --chaos 100"),
        ("a cat --fast --relax --tile", "--relax", "a cat --fast --tile"),
        ("a cat --iw 2 --strength .5 --tile", "--strength", "a cat --iw 2 --tile"),
        ("a cat --niji 6 --model emoji", "--model", "a cat --niji 6"),
        ("a cat --preset a --style b", "b", "a cat --preset a"),
        ("a cat --draft yes", "yes", "a cat --draft"),
        ("a cat --weird 9999", "9999", "a cat --weird 3000"),
        ("prompt: a cat --ar3:2", "--ar3:2", "a cat --ar 3:2"),
        ("prompt:", "", None),
        (
            "a cat --sampler DPM++ 2M Karras --schedule uniform",
            "uniform",
            "a cat --sampler DPM++ 2M Karras",
        ),
        ("a cat --ar:3:2", "--ar:3:2", "a cat --ar 3:2"),
        ("https://x.y/z.png", "https://x.y/z.png", None),
        ("--ar 3:2", "-", None),
        ("", "", None),
        ("   ", "   ", None),
        ("\u200b\u3164\u200d", "", None),
    ],
)
def test_a_fault_has_its_place_and_a_mended_prompt(
    text: str, place: str, suggestion: str | None
) -> None:
    error = fault(text)
    assert error.suggestion == suggestion
    if place:
        assert marked(error) == place


def test_the_sentence_names_the_nearest_flag() -> None:
    assert "The nearest is --sampler" in fault("cat --smapler euler").message
    assert "There is no flag --zzzzzz." in fault("cat --zzzzzz").message
    assert "only flags" in fault("--ar 3:2 --tile").message
    assert "empty" in fault(" \n ").message


def test_a_long_dash_before_letters_of_another_script_is_punctuation() -> None:
    assert parse("猫 —それ").prompt == "猫 —それ"
    assert "--あ" in fault("猫 --あ").message


def test_full_width_flags_and_values_of_a_japanese_keyboard() -> None:
    parsed = parse("赤い林檎\u3000－－ａｒ\u3000３：２\u3000--seed\u3000７")
    assert parsed.prompt == "赤い林檎"
    assert parsed.aspect == Aspect(width=3, height=2)
    assert parsed.seed == 7


def test_an_equals_sign_may_stand_before_a_value() -> None:
    assert parse("cat --ar=3:2 --seed=7").seed == 7


def test_a_sampler_with_a_schedule_agrees_with_the_same_schedule() -> None:
    parsed = parse("cat --schedule karras --sampler “DPM++ 2M Karras”")
    assert (parsed.sampler, parsed.schedule) == ("dpmpp_2m", "karras")


def test_spans_say_where_flag_and_value_stand() -> None:
    parsed = parse("cat --tile --ar 3:2")
    span = parsed.spans["ar"]
    assert parsed.text[span.start : span.end] == "3:2"
    assert parsed.text[span.flag : span.end] == "--ar 3:2"


def test_many_repetitions_stay_quick() -> None:
    texts = ["--ar " * 9000, "-" * 50_000 + "a", "—" * 50_000, "a.b" * 20_000, '"' * 50_000]
    texts += ["x --no " + ", " * 20_000, "x --sampler " + "a " * 20_000, "http" * 20_000]
    for text in texts:
        before = time.perf_counter()
        check_total(text)
        assert time.perf_counter() - before < 3


def test_six_thousand_characters_are_read() -> None:
    assert len(parse("cat " * 1500).prompt) == 5999


def test_real_prompts_with_flags_behind_them_parse() -> None:
    prompts = [
        "mecha robot hamster in photo style",
        "a photograph of an astronaut riding a horse",
        "A sunset over a mountain range, vector image",
        "富士山と桜、浮世絵風",
        "portrait of a woman, 35mm f/1.8 (soft light:1.2), [blur]",
    ]
    for prompt in prompts:
        assert parse(f"{prompt} --ar 16:9 —seed 42").prompt == prompt


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
@settings(max_examples=300, deadline=None)
@example("\ud800 --no \udfff")
def test_any_text_gives_a_result_or_a_prompt_error(text: str) -> None:
    check_total(text)


@given(
    st.lists(
        st.sampled_from([*PIECES, *FLAG_NAMES, *LATER_NAMES]) | st.text(max_size=6), max_size=12
    )
)
@settings(max_examples=300, deadline=None)
def test_any_heap_of_flags_gives_a_result_or_a_prompt_error(parts: list[str]) -> None:
    check_total(" ".join(parts))


def test_thousands_of_random_prompts() -> None:
    source = random.Random(11)  # noqa: S311 - a fixed heap of prompts
    for _ in range(3_000):
        check_total(random_prompt(source))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "--seed": st.integers(0, 2**32 - 1),
            "--steps": st.integers(1, 1000),
            "--cfg": st.decimals(1, 100, places=2),
            "--stop": st.integers(10, 100),
            "--repeat": st.integers(2, 10),
            "--quality": st.sampled_from(["0.25", ".25", ".5", "1", "2"]),
            "--ar": st.tuples(st.integers(1, 99), st.integers(1, 99)).map(
                lambda two: f"{two[0]}:{two[1]}"
            ),
            "--sampler": st.sampled_from(["Euler a", "'DPM++ 2M'", "ddim", "k_euler"]),
            "--chaos": st.integers(0, 100),
            "--stylize": st.integers(0, 1000),
            "--style": st.sampled_from(["raw", "ink"]),
            "--iw": st.decimals(0, 3, places=2),
            "--sw": st.integers(0, 1000),
            "--cw": st.integers(0, 100),
            "--hires": st.decimals(1, 2, places=2),
            "--weird": st.integers(0, 3000),
            "--clip": st.integers(1, 12),
            "--niji": st.sampled_from(["", "6"]),
            "--draft": st.just(""),
            "--video": st.just(""),
            "--sameseed": st.just(""),
        },
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_valid_flags_in_any_order_are_all_read(
    flags: dict[str, object], order: random.Random
) -> None:
    items = list(flags.items())
    order.shuffle(items)
    parsed = parse("a cat " + " ".join(f"{name} {value}" for name, value in items))
    assert parsed.prompt == "a cat"
    assert {f"--{name}" for name in parsed.spans} == set(flags)
    if "--seed" in flags:
        assert parsed.seed == flags["--seed"]
    if "--cfg" in flags:
        assert parsed.guidance_scale == float(str(flags["--cfg"]))
    if "--chaos" in flags:
        assert parsed.chaos == flags["--chaos"]
    if "--hires" in flags:
        assert parsed.hires == float(str(flags["--hires"]))
    assert parse(to_text(parsed)) == replace(parsed, text=to_text(parsed))


def test_every_kind_of_value_has_a_flag() -> None:
    assert {flag.kind for flag in FLAGS} == set(Kind)
