"""What the engine says, in the reader's language: its real sentences are held against the table."""

import io
from collections.abc import Callable, Sequence

import pytest
from PIL import Image

from bot.language import speaking
from bot.texts_engine import retold
from bot.texts_ideas import bad_picture
from bot.texts_people import refused_file
from bot.texts_pictures import bad_upload
from diffusion import Params, ParamsError, PictureError
from diffusion.params import MAX_PROMPT_LENGTH
from diffusion.pictures import MAX_PICTURE_BYTES, MAX_PICTURE_SIDE, decode_picture
from diffusion.prompts import parse_prompt


def png(width: int, height: int, *, frames: int = 1) -> bytes:
    out = io.BytesIO()
    pictures = [Image.new("RGB", (width, height), (number, 0, 0)) for number in range(frames)]
    pictures[0].save(out, "PNG", save_all=frames > 1, append_images=pictures[1:])
    return out.getvalue()


def said_of_a_file(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        decode_picture(data)
    return str(caught.value)


def said_of_a_prompt(text: str) -> str:
    with pytest.raises(ParamsError) as caught:
        parse_prompt(text, 10)
    return caught.value.advice


def said_of_words(prompt: str, morph: Sequence[str] = ()) -> str:
    with pytest.raises(ParamsError) as caught:
        Params(prompt=prompt, morph=tuple(morph))
    return caught.value.advice


SAID: list[Callable[[], str]] = [
    lambda: said_of_a_file(b"no picture"),
    lambda: said_of_a_file(bytes(MAX_PICTURE_BYTES + 1)),
    lambda: said_of_a_file(png(64, 64)[:60]),
    lambda: said_of_a_file(png(8, 8, frames=3)),
    lambda: said_of_a_file(png(MAX_PICTURE_SIDE + 1, 1)),
    lambda: said_of_a_prompt("a fox AND a hat::2 b"),
    lambda: said_of_a_prompt("a fox <lora:name:heavy>"),
    lambda: said_of_a_prompt("a fox::-1 b::-2"),
    lambda: said_of_words("x" * (MAX_PROMPT_LENGTH + 1)),
    lambda: said_of_words("a fox", ["a", " "]),
    lambda: said_of_words("a fox", ["x" * MAX_PROMPT_LENGTH, "y"]),
]


@pytest.mark.parametrize("say", SAID)
def test_the_engines_sentences_are_translated(say: Callable[[], str]) -> None:
    sentence = say()
    assert retold(sentence) == sentence
    with speaking("ja"):
        told = retold(sentence)
    assert told != sentence
    assert any("\u3041" <= sign <= "\u30ff" for sign in told), told


def test_values_are_carried_over() -> None:
    with speaking("ja"):
        assert "7フレーム" in retold("this is an animation of 7 frames; send a still picture")
        # Whatever stands in a value is no template.
        assert "{x} (y)" in retold("this picture is damaged and cannot be read ({x} (y))")


def test_what_is_unknown_stays_as_it_is() -> None:
    with speaking("ja"):
        assert retold("something new {n}") == "something new {n}"


def test_reasons_stand_in_a_sentence_of_their_language() -> None:
    reason = "this file is no PNG, JPEG or WebP picture"
    assert bad_picture(reason) == f"This picture cannot be used: {reason}."
    assert refused_file(reason) == f"T{reason[1:]}."
    with speaking("ja"):
        assert bad_picture(reason) == "この画像は使えません：PNG・JPEG・WebP の画像ではありません。"
        assert refused_file(reason) == "PNG・JPEG・WebP の画像ではありません。"
        assert bad_upload(reason).startswith("このマスクは使えません：PNG")
        # A sentence of ours is whole already.
        assert refused_file("送ってください。") == "送ってください。"
