"""A model's thesaurus: words it never saw, read as words that it knows."""

import json
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusion import load_model
from diffusion.errors import CheckpointError
from diffusion.info import model_path
from diffusion.model import Model
from diffusion.text.thesaurus import MAX_BYTES, Thesaurus, find_thesaurus, load_thesaurus
from tests.tiny import tiny_folder, tiny_model

TABLE = {
    "puppy": "dog face",
    "great dane": "dog face",
    "great dane puppy": "wolf",
    "car": "automobile",
    "loaf": "bread",
    "glass box": "tent",
    "alligator": "crocodile",
    "ray": "fish",
    "bowl": "cat face",
}
KNOWN = frozenset(
    {"a", "an", "cat", "dog", "face", "dog face", "hot dog", "hot", "in", "fish", "red"}
)
PLAIN = Thesaurus(known=KNOWN, synonyms=TABLE)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("puppy", "dog face"),
        ("PUPPY", "dog face"),
        ("a puppy, 3d style", "a dog face, 3d style"),
        ("Red  puppy!\n", "Red  dog face!\n"),
        ("great dane", "dog face"),
        ("Great-Dane in a car", "dog face in an automobile"),
        ("great\n dane", "dog face"),
        ("great dane puppy puppy", "wolf dog face"),
        ("puppies and two loaves", "dog face and two bread"),
        ("great danes", "dog face"),
        ("glass boxes", "tent"),
        ("an alligator", "a crocodile"),
        ("AN alligator", "A crocodile"),
        ("a car", "an automobile"),
        ("bananas car", "bananas automobile"),
        ("puppy's", "dog face's"),
    ],
)
def test_unknown_words_are_read_as_known_ones(typed: str, read: str) -> None:
    assert PLAIN.read(typed) == read


@pytest.mark.parametrize(
    "typed",
    ["", "  ", "dog", "dogs", "hot dog", "Cat Face", "zebra", "puppyish", "puppy_1", "puppy2",
     "x-ray", "ray-tracing", "dane great", "great, dane", "great (dane", "carpet", "scar",
     "3d style", "#puppyx", "\x00", "🦊", "小狗"],
)  # fmt: skip
def test_everything_else_stays_to_the_letter(typed: str) -> None:
    assert PLAIN.read(typed) == typed


def test_a_known_phrase_is_not_taken_apart() -> None:
    thesaurus = Thesaurus(known=KNOWN | {"fish bowl"}, synonyms=TABLE)
    assert thesaurus.read("a fish bowl") == "a fish bowl"
    assert thesaurus.read("a bowl") == "a cat face"


def test_plurals_are_read_as_plurals_where_the_model_knows_them() -> None:
    thesaurus = Thesaurus(known=KNOWN, synonyms=TABLE, plurals={"dog face": "dogs"})
    assert thesaurus.read("three puppies and a puppy") == "three dogs and a dog face"
    assert thesaurus.read("two cars") == "two automobile"


def test_a_plural_of_a_known_word_stays() -> None:
    thesaurus = Thesaurus(known=KNOWN | {"cookie"}, synonyms={"cooky": "bread"})
    assert thesaurus.read("cookies, a cooky") == "cookies, a bread"


def test_a_known_word_cannot_be_replaced() -> None:
    with pytest.raises(ValueError, match="'hot dog' is among the known"):
        Thesaurus(known=KNOWN, synonyms={"hot dog": "sausage"})


def test_replacements_are_told_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="diffusion.text.thesaurus"):
        PLAIN.read("my secret Puppy")
    assert caplog.messages == ["puppy is read as dog face"]


@pytest.mark.parametrize(
    "hostile",
    ["a " * 50_000, "puppy " * 16_667, "great " * 16_667, "great dane " * 9_000, " " * 100_000,
     "great" + " " * 99_000 + "dane", "great-" * 16_667, "a" * 100_000, "(" * 100_000,
     "great dane" + "s" * 99_000, "\u00e9\u0301" * 50_000],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_hostile_prompts_are_fast(hostile: str) -> None:
    """A quadratic pass over these takes minutes."""
    start = time.process_time()
    assert PLAIN.read(hostile) == PLAIN.read(hostile)
    assert time.process_time() - start < 3


def write(folder: Path, **changes: object) -> Path:
    data: dict[str, object] = {
        "format": 1,
        "known": ["red", "heart", "cat", "face"],
        "synonyms": {"cat face": ["kitten", "kitty cat"]},
    }
    path = folder / "thesaurus.json"
    path.write_text(json.dumps(data | changes), encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    thesaurus = load_thesaurus(write(tmp_path, plurals={"cat face": "cats"}))
    assert thesaurus.read("kittens, Kitty Cat") == "cats, cat face"
    assert find_thesaurus(tmp_path) == thesaurus
    assert find_thesaurus(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"known": None},
        {"known": [1]},
        {"synonyms": ["kitten"]},
        {"synonyms": {"cat face": [None]}},
        {"synonyms": {"": ["kitten"]}},
        {"synonyms": {"cat face": ["heart"]}},
        {"plurals": []},
    ],
)
def test_a_damaged_file_is_a_sentence(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=r"thesaurus\.json"):
        load_thesaurus(write(tmp_path, **changes))


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thesaurus.json"
    for content in (b"", b"[]", b"\xff\xfe", b"[" * 200_000, b" " * (MAX_BYTES + 1)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"thesaurus\.json"):
            load_thesaurus(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_thesaurus(tmp_path / "none.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(tiny_folder(), folder)
    write(folder)
    return load_model(folder)


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        ("kitten", "cat face"),
        ("a (kitten:1.2), 3d style", "a (cat face:1.2), 3d style"),
        ("[Kittens] BREAK red heart", "[cat face] BREAK red heart"),
        ("((kitty cat)) on a green background", "((cat face)) on a green background"),
    ],
)
def test_a_model_with_a_thesaurus_hears_the_known_word(model: Model, typed: str, same: str) -> None:
    heard, meant = model.encode_prompts([typed]), model.encode_prompts([same])
    assert torch.equal(heard.context, meant.context)
    assert heard.pooled is not None
    assert meant.pooled is not None
    assert torch.equal(heard.pooled, meant.pooled)


def test_a_model_without_one_hears_what_is_typed() -> None:
    plain = tiny_model()
    heard, meant = plain.encode_prompts(["kitten"]), plain.encode_prompts(["cat face"])
    assert not torch.equal(heard.context, meant.context)


def test_known_prompts_sound_the_same_with_and_without(model: Model) -> None:
    for prompt in ("a red heart", "cat face on a green background", "", "unheard of"):
        heard = model.encode_prompts([prompt]).context
        assert torch.equal(heard, tiny_model().encode_prompts([prompt]).context)


def test_a_damaged_thesaurus_keeps_the_model_from_loading(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_folder(), folder)
    (folder / "thesaurus.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"thesaurus\.json is no thesaurus.*delete it"):
        load_model(folder)


def test_the_shipped_table_is_small_and_reads_what_people_type() -> None:
    folder = model_path("emoji")
    assert (folder / "thesaurus.json").stat().st_size < 500_000
    assert "Princeton" in (folder / "WORDNET_LICENSE").read_text(encoding="utf-8")
    thesaurus = find_thesaurus(folder)
    assert thesaurus is not None
    assert thesaurus.read("a spaniel, twemoji style") == "a dog face, twemoji style"
    assert thesaurus.read("a fox in the snow at night") == "a fox in the snow at night"
    unchanged = replace(thesaurus, synonyms={})
    assert unchanged.read("a spaniel") == "a spaniel"
