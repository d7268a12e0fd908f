"""Who is next: weighted fair queueing over jobs, in seconds of the device.

Every job has an account of the seconds it used, divided by its weight; the emptiest account is
served next, and who comes in starts where the emptiest of the others stands (start-time fair
queueing, Goyal, Vin and Cheng 1996). Promises: jobs get the device in proportion to their weights
for as long as they want it; nobody waits for ever, since whoever is served falls behind those who
are not; a newcomer waits for the pass under way and those who are as far behind as it is, never for
the end of a job.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Share: TypeAlias = Literal["draft", "fast", "relax"]
WEIGHTS: Final[Mapping[Share, float]] = MappingProxyType({"draft": 8.0, "fast": 4.0, "relax": 1.0})


@dataclass(slots=True, eq=False)
class Account:
    """What a job has used: seconds over its weight, counted from where it came in."""

    weight: float
    arrival: int
    used: float = 0.0

    @property
    def rank(self) -> tuple[float, int]:
        """Whoever has the lowest rank is served next; of equals, who came first."""
        return self.used, self.arrival


@dataclass(slots=True)
class Fairness:
    """The accounts of the jobs that are there."""

    _accounts: set[Account] = field(default_factory=set)
    _arrivals: int = 0
    _clock: float = 0.0

    def enter(self, share: Share) -> Account:
        """Open an account."""
        self._clock = min((account.used for account in self._accounts), default=self._clock)
        self._arrivals += 1
        account = Account(weight=WEIGHTS[share], arrival=self._arrivals, used=self._clock)
        self._accounts.add(account)
        return account

    def charge(self, account: Account, seconds: float) -> None:
        """Write down seconds of the device."""
        account.used += seconds / account.weight

    def leave(self, account: Account) -> None:
        """Close an account; twice does no harm."""
        self._clock = max(self._clock, min(a.used for a in self._accounts or {account}))
        self._accounts.discard(account)

    def backlog(self, accounts: Iterable[Account]) -> float:
        """Return how far the first of the accounts is behind the emptiest of all, in seconds."""
        first = min(account.used for account in accounts)
        return first - min(account.used for account in self._accounts)
