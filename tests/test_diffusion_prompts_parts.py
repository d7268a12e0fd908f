"""A prompt's parts: LoRA tags, AND, and multi-prompts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion.errors import ParamsError
from diffusion.prompts import LoraTag, Part, extract_loras, parse_prompt, split_and, split_parts


def weights(text: str) -> list[tuple[float, str]]:
    return [(part.weight, part.schedule[-1][1]) for part in parse_prompt(text, 10).parts]


@pytest.mark.parametrize(
    "text", ["a red fox", "", " a fox ", "format 16:9", "a (b:1.3) [c]", "AN D"]
)
def test_a_plain_prompt_is_one_part_left_as_it_is(text: str) -> None:
    assert weights(text) == [(1.0, text)]


@pytest.mark.parametrize(
    ("text", "rest", "tags"),
    [
        ("a fox", "a fox", []),
        ("a <lora:ink> fox", "a  fox", [("ink", 1.0, 1.0)]),
        ("<lora:ink:0.8>a", "a", [("ink", 0.8, 0.8)]),
        ("<lora:ink:0.8:0.5>a", "a", [("ink", 0.8, 0.5)]),
        ("<lora:a b-c.v2:-1><lora:x:0:1>", "", [("a b-c.v2", -1.0, -1.0), ("x", 0.0, 1.0)]),
        ("<other:ink:1> <lora:", "<other:ink:1> <lora:", []),
    ],
)
def test_lora_tags_are_taken_out(
    text: str, rest: str, tags: list[tuple[str, float, float]]
) -> None:
    found = tuple(LoraTag(name=name, unet=unet, text=words) for name, unet, words in tags)
    assert extract_loras(text) == (rest, found)


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:>",
        "<lora:a:>",
        "<lora:a:x>",
        "<lora:a:1:2:3>",
        "<lora:a:nan>",
        f"<lora:a:{'9' * 400}>",
    ],
)
def test_a_lora_tag_that_cannot_be_read_is_an_error(tag: str) -> None:
    with pytest.raises(ParamsError, match="lora:name") as caught:
        extract_loras(f"a fox {tag}")
    assert caught.value.field == "prompt"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a AND b", [("a", 1.0), (" b", 1.0)]),
        ("a :1.2 AND b :0.5", [("a", 1.2), (" b", 0.5)]),
        ("a:1.2AND b", [("a:1.2AND b", 1.0)]),
        ("a: -1 AND b:.5 ", [("a", -1.0), (" b", 0.5)]),
        ("a AND", [("a", 1.0), ("", 1.0)]),
        ("SAND and BAND", [("SAND and BAND", 1.0)]),
        ("(a:1.2) AND b", [("(a:1.2)", 1.0), (" b", 1.0)]),
        ("a:b:2 AND c:x", [("a:b", 2.0), (" c:x", 1.0)]),
    ],
)
def test_and_splits_with_weights_that_are_not_normalised(
    text: str, parts: list[tuple[str, float]]
) -> None:
    assert list(split_and(text)) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hot::2 dog", [("hot", 2 / 3), ("dog", 1 / 3)]),
        ("hot:: dog", [("hot", 0.5), ("dog", 0.5)]),
        ("a::2 b::-0.5", [("a", 2 / 1.5), ("b", -0.5 / 1.5)]),
        ("a::.5 b::1.5", [("a", 0.25), ("b", 0.75)]),
        ("a::3", [("a", 1.0)]),
        ("::2 a", [("a", 1.0)]),
        ("::", [("", 1.0)]),
        ("[a::0.5] b", [("[a::0.5] b", 1.0)]),
        ("([x] a::2) b", [("([x] a::2) b", 1.0)]),
        ("[a::0.5] b::1 c::3", [("[a::0.5] b", 0.25), ("c", 0.75)]),
        ("[open a::1 b::3", [("[open a", 0.25), ("b", 0.75)]),
    ],
)
def test_multi_prompts_are_normalised(text: str, parts: list[tuple[str, float]]) -> None:
    found = split_parts(text)
    assert [words for words, _ in found] == [words for words, _ in parts]
    assert [w for _, w in found] == pytest.approx([w for _, w in parts])


@pytest.mark.parametrize("text", ["a::1 b::-1", "a::-1", "a::0 b::0", f"a::{'9' * 400} b"])
def test_weights_must_sum_to_more_than_nothing(text: str) -> None:
    with pytest.raises(ParamsError, match="above 0"):
        parse_prompt(text, 10)


def test_and_does_not_mix_with_multi_prompts() -> None:
    with pytest.raises(ParamsError, match="do not mix"):
        parse_prompt("a AND b::2 c", 10)


def test_a_whole_prompt() -> None:
    prompt = parse_prompt("a [b:c:0.5] :1.5 AND <lora:ink:0.7> d", 10)
    assert prompt.loras == (LoraTag(name="ink", unet=0.7, text=0.7),)
    assert prompt.parts == (
        Part(weight=1.5, schedule=((5, "a b"), (10, "a c"))),
        Part(weight=1.0, schedule=((10, "  d"),)),
    )
    assert [prompt.parts[0].at(step) for step in (1, 5, 6, 10, 11)] == ["a b"] * 2 + ["a c"] * 3


@given(st.text(alphabet="ab ANDlor<>:.15[]()|\\-", max_size=60))
def test_only_params_errors_are_raised(text: str) -> None:
    try:
        prompt = parse_prompt(text, 12)
    except ParamsError as error:
        assert error.field == "prompt"
    else:
        assert prompt.parts
        assert all(part.schedule[-1][0] == 12 for part in prompt.parts)


@pytest.mark.parametrize(
    "text", ["<lora:" * 1000, "::" * 3000, ": " * 3000, "AND " * 1500, "[::" * 2000]
)
def test_six_thousand_characters_take_no_time(text: str) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        parse_prompt(text, 30)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(3)) < 0.05
