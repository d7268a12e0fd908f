"""How far one meaning is from another in WordNet: steps through its graph, by what they tell.

A step to a narrower or a wider meaning costs the difference in information content (Jiang & Conrath
1997, equation 9), which is counted in the graph itself (Seco, Veale & Hayes 2004, equation 2):
IC(c) = 1 - ln(h(c) + 1) / ln(N), with h(c) kinds below c among N. From Chihuahua to dog is far in
steps and near in content; from cutlery to fork it is the other way round.

Promises: distances depend on the graph alone. Never: a step up again once a path has come down, as
what two things share with a third says nothing.
"""

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from diffusion.train.thesaurus_wordnet import Key, WordNet

_NARROWER: Final = frozenset({"~", "~i"})
_WIDER: Final = frozenset({"@", "@i"})
# Derivation, participle, pertainym, attribute, see also; and similar adjectives and verbs, which
# stand in groups around one that is between any two of them.
_RELATED: Final = frozenset({"+", "<", "\\", "=", "^"})
_SIMILAR: Final = frozenset({"&", "$"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What steps cost, from what the model knows to what is typed.

    `wider` and `narrower` weigh a whole unit of information content; `step` is added to each wider
    step, as above what has many kinds little content is left; `related` is one step to what is
    derived, `similar` one to a similar adjective or verb.
    """

    wider: float = 2.0
    narrower: float = 0.3
    step: float = 0.25
    related: float = 0.4
    similar: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Graph:
    """WordNet's graph with the costs of its steps."""

    wordnet: WordNet
    costs: Costs

    @cached_property
    def content(self) -> Mapping[Key, float]:
        """Return the information content of every noun and verb meaning, 0 to 1; others have 1."""
        synsets = self.wordnet.synsets
        below = self._below()
        totals = {part: sum(key[0] == part for key in synsets) for part in "nva"}
        logs = {part: math.log(max(total, 2)) for part, total in totals.items()}
        return {key: 1.0 - math.log(below[key] + 1) / logs[key[0]] for key in synsets}

    def _below(self) -> dict[Key, int]:
        """Count for every meaning the distinct meanings below it."""
        above: dict[Key, set[Key]] = {}

        def ancestors(key: Key) -> set[Key]:
            if key not in above:
                above[key] = set()  # Also ends a circle, of which WordNet has had some.
                for symbol, other in self.wordnet.synsets[key].links:
                    if symbol in _WIDER:
                        above[key] |= {other} | ancestors(other)
            return above[key]

        counts = dict.fromkeys(self.wordnet.synsets, 0)
        for key in self.wordnet.synsets:
            for other in ancestors(key):
                counts[other] += 1
        return counts

    def ancestors(self, key: Key) -> Iterator[Key]:
        """Yield a meaning and all wider ones, each once."""
        seen, todo = {key}, [key]
        while todo:
            here = todo.pop()
            yield here
            links = self.wordnet.synsets[here].links
            wider = [other for symbol, other in links if symbol in _WIDER and other not in seen]
            seen.update(wider)
            todo += wider

    def near(
        self, starts: Mapping[Key, float], limit: float, *, relations: int = 2
    ) -> dict[Key, float]:
        """Return all meanings within `limit` of the starts, with their costs.

        Paths go to wider meanings first and then to narrower ones, and at any place through as many
        `relations` that are neither.
        """
        best: dict[Key, float] = {}
        # A state is a meaning, whether the path has come down, and how many of these it used.
        done: set[tuple[Key, bool, int]] = set()
        queue = [(cost, key, False, 0) for key, cost in starts.items() if cost <= limit]
        heapq.heapify(queue)
        while queue:
            cost, key, down, used = heapq.heappop(queue)
            if (key, down, used) in done:
                continue
            done.add((key, down, used))
            best.setdefault(key, cost)
            for symbol, other in self.wordnet.synsets[key].links:
                price, is_down, is_used = self._price(symbol, key, other, down, used)
                if is_used > relations or (other, is_down, is_used) in done:
                    continue
                if cost + price <= limit:
                    heapq.heappush(queue, (cost + price, other, is_down, is_used))
        return best

    def _price(
        self, symbol: str, key: Key, other: Key, down: bool, used: int
    ) -> tuple[float, bool, int]:
        costs = self.costs
        if symbol in _NARROWER:
            told = max(0.0, self.content[other] - self.content[key])
            return costs.narrower * told, True, used
        if symbol in _WIDER and not down:
            told = max(0.0, self.content[key] - self.content[other])
            return costs.step + costs.wider * told, False, used
        if symbol in _RELATED:
            return costs.related, down, used + 1
        if symbol in _SIMILAR:
            return costs.similar, down, used + 1
        return math.inf, down, used
