"""LoRAs and embeddings that a prompt names: known ones pass, unknown ones get the nearest."""

from pathlib import Path

import pytest

from bot.addon_names import Known, check_names, known, names_any
from bot.config_models import ModelConfig
from bot.prompt import PromptError

NAMES = Known(loras=("ink-wash", "ink-line", "neon"), embeddings=("Fluffy",))


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "a <3 cat, 1 < 2 > 0",
        "a cat <lora:ink-wash:0.8>",
        "a <lora:neon:0.8:0.5> cat <fluffy> embedding:FLUFFY.",
        "<:emoji:1>",
    ],
)
def test_what_is_known_or_names_nothing_passes(text: str) -> None:
    check_names(text, NAMES)


@pytest.mark.parametrize(
    ("text", "place", "choices", "suggestion"),
    [
        (
            "a cat <lora:ink:0.8> --tile",
            "ink",
            ["ink-wash", "ink-line"],
            "a cat <lora:ink-wash:0.8> --tile",
        ),
        ("a cat <lora:zzz> --tile", "zzz", [], "a cat --tile"),
        ("a <flufy> cat", "flufy", ["Fluffy"], "a <Fluffy> cat"),
        ("a <quick> cat", "quick", [], "a quick cat"),
        ("embedding:nosuch", "nosuch", [], "nosuch"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(
    text: str, place: str, choices: list[str], suggestion: str
) -> None:
    with pytest.raises(PromptError) as caught:
        check_names(text, NAMES)
    error = caught.value
    assert error.text[error.start : error.end] == place
    assert sorted(name for name, _ in error.choices) == sorted(choices)
    if choices:
        assert suggestion in [whole for _, whole in error.choices]
    else:
        assert error.suggestion == suggestion


def test_names_are_those_of_the_model_s_folders(tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").write_bytes(b"")
    assert known(ModelConfig(path="emoji", loras=tmp_path)).loras == ("ink",)
    assert known(ModelConfig(path="emoji", loras=tmp_path / "nowhere")) == Known()
    assert names_any("x <lora:y>")
    assert not names_any("a cat: <3")
