"""The shipped model's thesaurus: for words it never saw, the name that is nearest in WordNet.

The rule. Every name of the model has *anchors*: the meanings of the name, of what it is called, or
of its last noun, chosen by how well they fit the emoji's group and keywords (Lesk 1986); meanings
defined with the very name; and, less surely, its keywords, the less the more names share them.
A word costs what the best of its meanings costs: how unlikely that meaning is for the word, and how
far it is from an anchor (`thesaurus_graph`). It is read as the name that costs least, if that is
below a limit, and otherwise left alone.

Promises: weights of the rule are tuned on `thesaurus_tuning.json` alone; the same packages give the
same file, byte for byte. Never: an entry for a word of the captions, or one made from the hundred
synonyms that the result is measured with (`synonyms`): their keywords are taken out here, too.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from diffusion.text.thesaurus import singulars
from diffusion.train.synonyms import is_kept_out
from diffusion.train.thesaurus_graph import Costs, Graph
from diffusion.train.thesaurus_wordnet import Key, WordNet

_WORDS: Final = re.compile(r"[a-z0-9]+")
_PLAIN: Final = re.compile(r"[a-z0-9]+(?: [a-z0-9]+){0,3}")
_HEAD_ENDS: Final = re.compile(r" (?:with|without|showing|in|on|up|done)\b.*")
# Which lexicographers' files (lexnames(5WN)) hold what an emoji's group shows: animals 5, artefacts
# 6, bodies 8, events 11, food 13, objects 17, phenomena 19, plants 20, processes 22, substances 27.
# Of faces, any.
_TOPICS: Final = {
    "Animals & Nature": frozenset({5, 17, 19, 20}),
    "Food & Drink": frozenset({6, 13, 20}),
    "Travel & Places": frozenset({6, 11, 17, 19, 22, 27}),
    "Activities": frozenset({4, 6, 19}),
    "Objects": frozenset({6, 10, 21, 27}),
    "People & Body": frozenset({8}),
}
# What nobody sees: acts, attributes, thoughts, groups, places, motives, possessions, quantities,
# relations, times; and verbs of thinking.
_UNSEEN: Final = frozenset({4, 7, 9, 14, 15, 16, 21, 23, 24, 28, 31})
# A face shows them: crying is an act, cold an attribute.
_SHOWN: Final = frozenset({4, 7})
# Last words of names that say nothing of what is seen.
_EMPTY_HEADS: Final = frozenset({"face", "piece", "mark", "wedge"})
_PERSON: Final = 18
_FACES: Final = "Smileys & Emotion"
# Words that build sentences: WordNet knows them as units, elements and abbreviations only.
_FUNCTION_WORDS: Final = frozenset(
    _WORDS.findall(
        "a about above across after against all along also am among an and any are around as at "
        "be been before behind being below beneath beside between beyond both but by can could "
        "did do does done down during each either for from had has have he her here hers him his "
        "how i if in inside into is it its just less like made many may me mine more most much "
        "must my near next no nor not of off on one only onto or other our ours out outside over "
        "per she should so some such than that the their them then there these they this those "
        "through till to too under until up upon us very was we were what when where which while "
        "who whom whose why will with within without would yes yet you your yours "
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The weights of the rule; costs are sums of these.

    `limit`: beyond it a word is left alone. `bit`: one bit by which a meaning is unlikely for the
    word. An anchor costs `head` from a part of the name, `second` more for a further meaning of it,
    `keyword` from a keyword and `shared` for every doubling of the names that share that one,
    `defined` from a definition. `unseen` multiplies what thoughts and other abstract things cost.
    """

    limit: float = 0.75
    bit: float = 0.2
    head: float = 0.3
    second: float = 0.3
    keyword: float = 0.8
    shared: float = 0.4
    defined: float = 0.5
    unseen: float = 2.0
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A name that the model paints, with the keywords of its captions and its emoji's group."""

    name: str
    keywords: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Finder:
    """Finds the names that are nearest to words."""

    wordnet: WordNet
    rule: Rule

    @cached_property
    def graph(self) -> Graph:
        """Return the graph of meanings with the rule's costs."""
        return Graph(wordnet=self.wordnet, costs=self.rule.costs)

    def table(self, subjects: Sequence[Subject], known: Collection[str]) -> dict[str, str]:
        """Return what is read for every word of WordNet that is near enough to a name.

        `known`: single words that the model's captions hold; a phrase of these alone is left out.
        """
        best: dict[str, tuple[float, int]] = {}
        for number, costs in enumerate(self.costs(subjects)):
            for word, cost in costs.items():
                best[word] = min(best.get(word, (math.inf, 0)), (cost, number))
        return {
            word: subjects[number].name
            for word, (_, number) in sorted(best.items())
            if not set(word.split()) <= set(known)
        }

    def costs(self, subjects: Sequence[Subject]) -> Iterator[dict[str, float]]:
        """Yield for every subject the words that are near enough, with their costs."""
        rule, graph = self.rule, self.graph
        words = self._words()
        for subject, starts in zip(subjects, self.anchors(subjects), strict=True):
            found: dict[str, float] = {}
            face = subject.group == _FACES
            for key, cost in graph.near(starts, rule.limit, relations=2 if face else 0).items():
                if not face and not self._is_thing(key):
                    continue
                unseen = _UNSEEN - _SHOWN if face else _UNSEEN
                factor = rule.unseen if self.wordnet.synsets[key].topic in unseen else 1.0
                for word, bits in words.get(key, ()):
                    total = (cost + rule.bit * bits) * factor
                    if total <= rule.limit:
                        found[word] = min(total, found.get(word, math.inf))
            yield found

    def _is_thing(self, key: Key) -> bool:
        # People are no pictures of things, nor is what things are like, nor what they do.
        return key[0] == "n" and self.wordnet.synsets[key].topic != _PERSON

    def _words(self) -> dict[Key, list[tuple[str, float]]]:
        """Return the words of every meaning, with the bits by which they seldom mean it."""
        words: dict[Key, list[tuple[str, float]]] = {}
        for word in self.wordnet.senses:
            if word in _FUNCTION_WORDS or not _PLAIN.fullmatch(word):
                continue
            for key, share in self.wordnet.shares(word):
                forms = [word]
                if key[0] == "v" and " " not in word:
                    forms += (f for f in _participles(word) if f not in self.wordnet.senses)
                words.setdefault(key, []).extend((form, -math.log2(share)) for form in forms)
        return words

    def anchors(self, subjects: Sequence[Subject]) -> Iterator[dict[Key, float]]:
        """Yield for every subject the meanings that it shows, with what each costs."""
        kept = [tuple(w for w in s.keywords if not is_kept_out(w)) for s in subjects]
        sharing = Counter(word for words in kept for word in words)
        defined = self.wordnet.defined_with([s.name for s in subjects if " " in s.name])
        for subject, keywords in zip(subjects, kept, strict=True):
            found: dict[Key, float] = dict.fromkeys(
                defined.get(subject.name, ()), self.rule.defined
            )
            named = self._named(subject, keywords)
            meant = [
                (key, self._said(word, subject.name) + self.rule.shared * math.log2(sharing[word]))
                for word in keywords
                for key in self._meanings(word, subject.group, keywords)[:1]
                if subject.group == _FACES or self._is_of(key, subject.group)
            ]
            for key, cost in (*named, *meant):
                found[key] = min(cost, found.get(key, math.inf))
            yield found

    def _named(self, subject: Subject, keywords: Sequence[str]) -> list[tuple[Key, float]]:
        """Return the meanings of a name: of all of it, or else of its last noun."""
        plain = subject.name.replace("-", " ")
        bare = plain.removesuffix(" face")
        for phrase in dict.fromkeys((plain, bare, plain.replace(" ", ""))):
            # How a face looks is said by an adjective: a cold face has no cold.
            part = "a" if phrase != plain and subject.group == _FACES else "n"
            keys = self._meanings(phrase, subject.group, keywords, part)
            # "Closed book" is a mystery to WordNet, and an object here.
            if keys and (phrase.count(" ") == 0 or self._is_of(keys[0], subject.group)):
                return [*self._priced(keys, 0.0), *self._acted(phrase)]
        # Of a pile of poo, poo is what one sees.
        head = _HEAD_ENDS.sub("", bare).removesuffix(" face").rpartition(" of ")[2].split()[-1]
        if head in _EMPTY_HEADS:
            return []
        keys = self._meanings(head, subject.group, keywords)
        return [*self._priced(keys[:1], self.rule.head), *self._acted(head)]

    def _said(self, keyword: str, name: str) -> float:
        # What stands in the name is shown for sure: cheese on a cheese wedge, beer in a beer mug.
        return self.rule.head if keyword in name.split() else self.rule.keyword

    def _priced(self, keys: Sequence[Key], cost: float) -> list[tuple[Key, float]]:
        return [(key, cost + (self.rule.second if i else 0.0)) for i, key in enumerate(keys)]

    def _acted(self, phrase: str) -> list[tuple[Key, float]]:
        """Return what somebody does who is "crying": the verb's most usual meaning."""
        for stem in _stems(phrase):
            meant = [(share, key) for key, share in self.wordnet.shares(stem) if key[0] == "v"]
            if meant:
                return [(max(meant)[1], self.rule.second)]
        return []

    def _is_of(self, key: Key, group: str) -> bool:
        topics = _TOPICS.get(group)
        return topics is None or self.wordnet.synsets[key].topic in topics

    def _meanings(
        self, phrase: str, group: str, hints: Sequence[str], part: str = "n"
    ) -> list[Key]:
        """Return the meanings that fit a group, the best first; else the one that is nearest to it.

        Better is the part of speech asked for, then more of the hints in its own and wider words
        and its definition, then what is meant more often.
        """
        forms = [phrase, *singulars(phrase)]
        stem = next((form for form in forms if form in self.wordnet.senses), None)
        if stem is None:
            return []
        wanted = set(_WORDS.findall(" ".join(hints))) - set(phrase.split())

        def fit(meaning: tuple[Key, float]) -> tuple[bool, bool, int, float]:
            key, share = meaning
            near = [self.wordnet.synsets[each].words for each in self.graph.ancestors(key)]
            words = set(" ".join(word for some in near for word in some).split())
            words.update(_WORDS.findall(self.wordnet.synsets[key].definition.lower()))
            return self._is_of(key, group), key[0] == part, len(words & wanted), share

        ranked = [key for key, _ in sorted(self.wordnet.shares(stem), key=fit, reverse=True)]
        fitting = [key for key in ranked if key[0] == ranked[0][0] and self._is_of(key, group)]
        return fitting if group in _TOPICS and fitting else ranked[:1]


def _stems(word: str) -> Iterator[str]:
    """Yield the verbs that a word in -ing may come from: "napping" gives "napp", "nappe", "nap"."""
    if word.endswith("ing") and len(word) > 5:
        stem = word[:-3]
        yield stem
        yield f"{stem}e"
        if stem[-1] == stem[-2]:
            yield stem[:-1]


def _participles(verb: str) -> Iterator[str]:
    """Yield how a regular verb's participle may be written; the spelling of irregular ones too."""
    if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        yield f"{verb[:-1]}ing"
        return
    yield f"{verb}ing"
    if re.fullmatch(r".*[^aeiou][aeiou][bdgklmnprt]", verb):
        yield f"{verb}{verb[-1]}ing"
