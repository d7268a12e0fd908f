"""The builder of the thesaurus, on a WordNet of a few lines written here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bot.training.thesaurus
from bot.__main__ import app
from diffusion.text.thesaurus import Thesaurus, load_thesaurus
from diffusion.train.data import known_names
from diffusion.train.packages import PACKAGES, PackagesError, package_folder
from diffusion.train.synonyms import Synonym, synonyms
from diffusion.train.thesaurus import Finder, Rule, Subject
from diffusion.train.thesaurus_file import (
    LICENCE_NAME,
    Shares,
    build_thesaurus,
    known_words,
    measure,
    tuning_list,
    write_thesaurus,
)
from diffusion.train.thesaurus_graph import Costs, Graph
from diffusion.train.thesaurus_wordnet import WORDNET, WordNet, read_wordnet

assert bot.training.thesaurus  # Its import adds the command.


@dataclass(frozen=True)
class Meaning:
    """One synset to write: lexicographer's file, words, links to other meanings by name, gloss."""

    topic: int
    words: str
    links: tuple[tuple[str, str], ...] = ()
    gloss: str = "something"
    part: str = "n"


def up(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple(("@", name) for name in names)


MEANINGS = {
    "entity": Meaning(3, "entity"),
    "animal": Meaning(5, "animal", up("entity")),
    "bird": Meaning(5, "bird", up("animal")),
    "owl": Meaning(5, "owl", up("bird")),
    "barn_owl": Meaning(5, "barn_owl Tyto_alba", up("owl")),
    "canine": Meaning(5, "canine", up("animal")),
    "dog": Meaning(5, "dog domestic_dog", up("canine"), 'a pet; "the dog barked"'),
    "puppy_dog": Meaning(5, "whelp", up("dog")),
    "poodle": Meaning(5, "poodle", up("dog")),
    "beagle": Meaning(5, "beagle", up("dog")),
    "jackal": Meaning(5, "jackal", up("canine")),
    "artifact": Meaning(6, "artifact", up("entity")),
    "bat_club": Meaning(6, "bat club", up("artifact")),
    "bat_animal": Meaning(5, "bat", up("animal"), "a flying animal"),
    "flitter": Meaning(5, "flittermouse", up("bat_animal")),
    "mansion": Meaning(6, "mansion", up("artifact"), "a kind of dog face in stone"),
    "idea": Meaning(9, "idea", up("entity")),
    "person": Meaning(18, "person", up("entity")),
    "doglike_man": Meaning(18, "hotdogger", up("dog")),
    "angry": Meaning(0, "angry(p)", (("&", "enraged"), ("&", "livid")), part="a"),
    "enraged": Meaning(0, "enraged", (("&", "angry"),), part="s"),
    "livid": Meaning(0, "livid", (("&", "angry"),), part="s"),
    "sleep": Meaning(29, "sleep", part="v"),
    "nap": Meaning(29, "nap", (("@", "sleep"),), part="v"),
}  # fmt: skip
# What was meant by hand: the club far more often than the animal.
COUNTS = {("bat", "bat_club"): 30, ("bat", "bat_animal"): 1}
FILES = {"n": "data.noun", "v": "data.verb", "a": "data.adj", "s": "data.adj"}
NUMBERS = {"n": 1, "v": 2, "a": 3, "s": 5}


def write_wordnet(folder: Path, meanings: Mapping[str, Meaning] = MEANINGS) -> Path:
    """Write data and sense files in WordNet's format; any numbers serve as offsets."""
    folder.mkdir(parents=True, exist_ok=True)
    offsets = {name: 1000 + 10 * i for i, name in enumerate(meanings)}
    lines: dict[str, list[str]] = {name: ["  1 A licence"] for name in FILES.values()}
    senses: list[str] = []
    for name, each in meanings.items():
        links = list(each.links)
        links += [("~", n) for n, m in meanings.items() if ("@", name) in m.links]
        words = each.words.split()
        fields = [f"{offsets[name]:08d}", f"{each.topic:02d}", each.part, f"{len(words):02x}"]
        fields += [f"{word} 0" for word in words]
        fields.append(f"{len(links):03d}")
        fields += [f"{s} {offsets[n]:08d} {meanings[n].part} 0000" for s, n in links]
        lines[FILES[each.part]].append(" ".join(fields) + f" | {each.gloss}  ")
        for word in words:
            plain = word.removesuffix("(p)").lower()
            count = COUNTS.get((plain, name), 0)
            mark = f"{plain}%{NUMBERS[each.part]}:{each.topic:02d}:00::"
            senses.append(f"{mark} {offsets[name]:08d} 1 {count}")
    senses.append("quickly%4:02:00:: 00001000 1 3")
    for file, text in lines.items():
        (folder / file).write_text("\n".join(text) + "\n", encoding="utf-8")
    (folder / "index.sense").write_text("\n".join(senses) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    return read_wordnet(write_wordnet(tmp_path / "dict"))


ANIMALS = "Animals & Nature"
SUBJECTS = [
    Subject(name="dog face", keywords=("dog", "pet"), group=ANIMALS),
    Subject(name="owl", keywords=("bird",), group=ANIMALS),
    Subject(name="bat", keywords=("animal",), group=ANIMALS),
    Subject(name="enraged face", group="Smileys & Emotion"),
    Subject(name="sleeping face", group="Smileys & Emotion"),
]
KNOWN = {"dog", "face", "owl", "bat", "animal", "bird", "pet", "enraged", "sleeping"}


def table_of(wordnet: WordNet, rule: Rule | None = None) -> dict[str, str]:
    return Finder(wordnet=wordnet, rule=rule or Rule()).table(SUBJECTS, KNOWN)


def test_files_are_read(wordnet: WordNet) -> None:
    (sense,) = wordnet.senses["domestic dog"]
    synset = wordnet.synsets[sense.key]
    assert synset.words == ("dog", "domestic dog")
    assert (synset.topic, synset.definition) == (5, "a pet")
    assert {symbol for symbol, _ in synset.links} == {"@", "~"}
    assert "angry" in wordnet.senses
    assert "quickly" not in wordnet.senses
    (club, often), (_, seldom) = sorted(wordnet.shares("bat"), key=lambda share: -share[1])
    assert wordnet.synsets[club].topic == 6
    assert often > 0.9
    assert often + seldom == pytest.approx(1)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("data.noun", "00001000 03 n zz entity 0 000 | x"),
        ("data.noun", "nonsense"),
        ("data.adj", "00001000 00 a 01 big 0 002 & 00001010 a 0000 | cut short"),
        ("index.sense", "dog%1:05:00:: 99999999 1 0"),
        ("index.sense", "dog"),
        ("index.sense", "dog%1:05:00:: x 1 0"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, file: str, line: str) -> None:
    folder = write_wordnet(tmp_path / "dict")
    with (folder / file).open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    count = len((folder / file).read_text(encoding="utf-8").splitlines())
    with pytest.raises(PackagesError, match=rf"{file} is damaged in line {count}"):
        read_wordnet(folder)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    (write_wordnet(tmp_path / "dict") / "data.verb").unlink()
    with pytest.raises(PackagesError, match=r"data\.verb cannot be read"):
        read_wordnet(tmp_path / "dict")


def test_content_falls_towards_what_is_wide(wordnet: WordNet) -> None:
    graph = Graph(wordnet=wordnet, costs=Costs())
    key = {word: wordnet.senses[word][0].key for word in ("poodle", "dog", "canine", "entity")}
    content = [graph.content[key[word]] for word in ("poodle", "dog", "canine", "entity")]
    assert content == sorted(content, reverse=True)
    assert content[0] == 1
    found = graph.near({key["dog"]: 0.0}, 5.0)
    assert found[key["poodle"]] == pytest.approx(0.3 * (content[0] - content[1]))
    assert found[key["canine"]] == pytest.approx(0.25 + 2 * (content[1] - content[2]))
    assert key["entity"] not in graph.near({key["dog"]: 0.0}, 0.3)


def test_no_path_goes_down_and_up_again(tmp_path: Path) -> None:
    meanings = {**MEANINGS, "toy": Meaning(6, "toy", up("artifact"))}
    meanings["poodle"] = Meaning(5, "poodle", up("dog", "toy"))
    read = read_wordnet(write_wordnet(tmp_path / "dict", meanings))
    keys = {word: read.senses[word][0].key for word in ("dog", "canine", "poodle", "toy", "jackal")}
    found = Graph(wordnet=read, costs=Costs(step=10)).near({keys["dog"]: 0.0}, 15.0)
    assert {keys["poodle"], keys["canine"], keys["jackal"]} <= found.keys()
    assert keys["toy"] not in found


def test_relations_are_taken_as_often_as_is_asked(wordnet: WordNet) -> None:
    graph = Graph(wordnet=wordnet, costs=Costs())
    enraged, angry, livid = (wordnet.senses[w][0].key for w in ("enraged", "angry", "livid"))
    assert graph.near({enraged: 0.0}, 9.0, relations=0).keys() == {enraged}
    assert graph.near({enraged: 0.0}, 9.0, relations=1).keys() == {enraged, angry}
    assert graph.near({enraged: 0.0}, 9.0, relations=2)[livid] == pytest.approx(0.5)


def test_kinds_are_read_as_what_they_are_kinds_of(wordnet: WordNet) -> None:
    table = table_of(wordnet)
    assert table["poodle"] == table["whelp"] == table["domestic dog"] == "dog face"
    assert table["barn owl"] == table["tyto alba"] == "owl"
    for word in ("entity", "artifact", "idea", "person", "club"):
        assert word not in table
    # A sibling is near enough or not, as the limit says.
    assert table["jackal"] == "dog face"
    narrow = table_of(wordnet, Rule(limit=0.3))
    assert "poodle" in narrow
    assert "jackal" not in narrow


def test_a_name_means_what_its_group_shows(wordnet: WordNet) -> None:
    assert table_of(wordnet)["flittermouse"] == "bat"


def test_known_words_people_and_phrases_of_known_words_are_left_out(wordnet: WordNet) -> None:
    table = table_of(wordnet)
    assert not KNOWN & table.keys()
    assert "hotdogger" not in table
    finder = Finder(wordnet=wordnet, rule=Rule())
    assert "domestic dog" not in finder.table(SUBJECTS, KNOWN | {"domestic"})


def test_faces_are_told_by_qualities_and_acts(wordnet: WordNet) -> None:
    table = table_of(wordnet)
    assert table["livid"] == table["angry"] == "enraged face"
    assert table["nap"] == table["napping"] == table["sleep"] == "sleeping face"


def test_a_definition_with_the_very_name_counts(wordnet: WordNet) -> None:
    assert table_of(wordnet)["mansion"] == "dog face"
    assert "mansion" not in table_of(wordnet, Rule(defined=2.0))


def test_a_keyword_with_a_kept_out_word_is_no_anchor(tmp_path: Path) -> None:
    meanings = {**MEANINGS, "mutt": Meaning(6, "puppy"), "cur": Meaning(6, "cur", up("mutt"))}
    subject = Subject(name="owl", keywords=("puppy",), group="Objects")
    allowed = Subject(name="owl", keywords=("mansion",), group="Objects")
    read = read_wordnet(write_wordnet(tmp_path / "dict", meanings))
    finder = Finder(wordnet=read, rule=Rule(limit=1.5))
    assert "cur" not in finder.table([subject], KNOWN)
    assert finder.table([allowed], KNOWN)["mansion"] == "owl"


def test_known_words_are_what_captions_hold() -> None:
    heart = Subject(name="cat face", keywords=("pet", "puppies", "tom cat"))
    known = known_words([heart])
    assert {"cat", "face", "cat face", "cats", "pet", "tom", "style", "blue", "twemoji"} <= known
    assert not {"puppies", "puppy"} & known


def write_packages(root: Path) -> None:
    """Lay down packages as npm would: Unicode's tables for the known names, and a WordNet."""
    for package in (*(p for p in PACKAGES if not p.style), WORDNET):
        folder = package_folder(root, package)
        folder.mkdir(parents=True)
        manifest = {"name": package.name, "version": package.version}
        (folder / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
    codes = {chr(0x1F300 + i): name for i, name in enumerate(known_names())}
    names = {text: {"name": name, "group": ANIMALS} for text, name in codes.items()}
    table = root / "node_modules" / "unicode-emoji-json" / "data-by-emoji.json"
    table.write_text(json.dumps(names), encoding="utf-8")
    notes = root / "node_modules" / "cldr-annotations-full" / "annotations" / "en"
    notes.mkdir(parents=True)
    content: dict[str, object] = {"annotations": {"annotations": {}}}
    (notes / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    folder = package_folder(root, WORDNET)
    write_wordnet(folder / "dict")
    (folder / "LICENSE").write_text("WordNet, Princeton University", encoding="utf-8")


def test_the_command_writes_the_same_file_again_with_the_licence(tmp_path: Path) -> None:
    write_packages(tmp_path / "packages")
    out = tmp_path / "model"
    command = ["train", "thesaurus", "--folder", str(tmp_path), "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "kept out: of 100 synonyms" in done.output
    assert (out / LICENCE_NAME).read_text(encoding="utf-8") == "WordNet, Princeton University"
    first = (out / "thesaurus.json").read_bytes()
    thesaurus = load_thesaurus(out / "thesaurus.json")
    assert thesaurus.read("a poodle and two beagles") == "a dog face and two dog face"
    build_thesaurus(out, tmp_path / "packages")
    assert (out / "thesaurus.json").read_bytes() == first
    counted = build_thesaurus(out, tmp_path / "packages", counted=True)
    assert counted.read("a poodle and two beagles") == "a dog face and two dogs"


def test_a_broken_package_is_a_sentence(tmp_path: Path) -> None:
    write_packages(tmp_path / "packages")
    (package_folder(tmp_path / "packages", WORDNET) / "dict" / "data.noun").unlink()
    command = ["train", "thesaurus", "--folder", str(tmp_path), "--out", str(tmp_path / "model")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 78
    assert "data.noun" in done.output.replace("\n", "")
    assert not (tmp_path / "model").exists()


def test_a_table_too_large_is_not_written(tmp_path: Path) -> None:
    table = {f"word{i}": "dog face" for i in range(60_000)}
    path = tmp_path / "thesaurus.json"
    with pytest.raises(ValueError, match="lower the limit"):
        write_thesaurus(path, table, KNOWN, names=["dog face"], plurals={})
    assert not path.exists()


def test_shares_are_counted() -> None:
    thesaurus = Thesaurus(
        known=frozenset({"dog face"}), synonyms={"poodle": "dog face", "x": "owl"}
    )
    entries = [
        Synonym(word="poodle", names=("wolf", "dog face")),
        Synonym(word="x", names=("dog face",)),
        Synonym(word="y", names=("owl",)),
    ]
    assert measure(thesaurus, entries) == Shares(right=1, wrong=1, alone=1)


def test_nothing_is_tuned_on_what_is_measured() -> None:
    near, alone = tuning_list()
    kept = {entry.word for entry in synonyms()}
    assert len(near) > 60
    assert not kept & {entry.word for entry in near}
    assert not kept & set(alone)
    assert {name for entry in near for name in entry.names} <= set(known_names())
