"""`python requirements/audit.py`: ask the advisory services about every pin of the lock files.

Promises exit code 1 for a known vulnerability that has a fix and is not in `allowed.toml`, and for
an entry there whose day has passed; a line that says how many pins got an answer at all; and, where
none did, a line that says so and exit code 2, or 0 in CI: there a build does not hang on a service
that cannot be reached.

Needs `pip-audit`, which `make audit` brings. A mirror may know the page of a project and not those
of its releases, where pip-audit looks. The page has the advisories of the newest release, which
answers for a pin of just that one.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

HERE: Final = Path(__file__).parent
SERVICES: Final = ("osv", "pypi")
SECONDS: Final = 15.0
Pin = tuple[str, str]
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ +]+)", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One known vulnerability of a pinned release."""

    name: str
    version: str
    ids: frozenset[str]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """Name it as a line of the report does."""
        fix = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fix yet"
        return f"{self.name} {self.version}: {', '.join(sorted(self.ids))} ({fix})"


@dataclass(slots=True, kw_only=True)
class Answers:
    """What the services said: the pins that got an answer, and what is known against them."""

    answered: set[Pin] = field(default_factory=set)
    advisories: list[Advisory] = field(default_factory=list)

    def __ior__(self, more: "Answers") -> "Answers":
        """Take in what another service said."""
        self.answered |= more.answered
        self.advisories += more.advisories
        return self


def pins(folder: Path = HERE) -> set[Pin]:
    """Return every pin of the lock files; torch's builds count as one, as services know them."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt")))
    return {pin for text in texts for pin in _PIN.findall(text)}


def ask(service: str, wanted: Iterable[Pin]) -> Answers:
    """Let pip-audit ask a service; nothing is answered where it cannot be reached."""
    answers, left = Answers(), sorted(wanted)
    while left:
        # It takes one pin of each package at a time.
        names = dict(left)
        found = _ask(service, names)
        if found is None:
            break
        answers |= found
        left = [(name, version) for name, version in left if names[name] != version]
    return answers


def _ask(service: str, names: Mapping[str, str]) -> Answers | None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "pins.txt")
        path.write_text("".join(f"{name}=={version}\n" for name, version in names.items()))
        done = subprocess.run(  # noqa: S603 - our own command
            [
                *(sys.executable, "-m", "pip_audit", "--vulnerability-service", service),
                *("--format", "json", "--progress-spinner", "off", "--disable-pip", "--no-deps"),
                *("--timeout", str(round(SECONDS)), "--requirement", str(path)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        print(f"audit: {service} does not answer: {last.split(':')[0]}")  # noqa: T201
        return None
    return read(each for each in found if "vulns" in each)


def read(found: Iterable[Mapping[str, Any]]) -> Answers:
    """Read pip-audit's findings."""
    answers = Answers()
    for each in found:
        answers.answered.add((each["name"], each["version"]))
        for known in each["vulns"]:
            answers.advisories.append(
                Advisory(
                    name=each["name"],
                    version=each["version"],
                    ids=frozenset((known["id"], *known.get("aliases", ()))),
                    fixed_in=tuple(known["fix_versions"]),
                )
            )
    return answers


def ask_pages(wanted: Iterable[Pin], address: str) -> Answers:
    """Read the projects' pages of an index; one answers for a pin of the newest release alone."""

    def page(name: str) -> Mapping[str, Any] | None:
        try:
            with urlopen(f"{address}/{name}/json", timeout=SECONDS) as answer:  # noqa: S310 - the index
                found: Mapping[str, Any] = json.load(answer)
                return found
        except (URLError, OSError, ValueError):
            return None

    answers, left = Answers(), sorted(wanted)
    with ThreadPoolExecutor(max_workers=4) as pool:
        pages = list(pool.map(page, (name for name, _ in left)))
    for (name, version), found in zip(left, pages, strict=True):
        known = None if found is None else found.get("vulnerabilities")
        if found is None or known is None or found["info"]["version"] != version:
            continue
        answers.answered.add((name, version))
        answers.advisories += [
            Advisory(
                name=name,
                version=version,
                ids=frozenset((each["id"], *each.get("aliases", ()))),
                fixed_in=tuple(each.get("fixed_in", ())),
            )
            for each in known
            if not each.get("withdrawn")
        ]
    return answers


def judge(answers: Answers, allowed: Iterable[Mapping[str, Any]], today: date) -> list[str]:
    """Return what must not stay as it is; an advisory is allowed by any of its names."""
    entries = list(allowed)
    faults = [
        f"allowed.toml: {each['id']} was let pass until {each['until']}: look at it again"
        for each in entries
        if each["until"] < today
    ]
    names = {each["id"] for each in entries}
    return faults + [
        str(each) for each in answers.advisories if each.fixed_in and not each.ids & names
    ]


def main() -> int:
    """Ask, report, and return the exit code."""
    wanted, answers = pins(), Answers()
    for service in SERVICES:
        if not answers.answered:
            answers |= ask(service, wanted)
    if wanted - answers.answered:
        from pip._internal.models.index import PyPI

        answers |= ask_pages(wanted - answers.answered, PyPI.pypi_url)
    if not answers.answered:
        print("audit: no advisory service could be reached; NOTHING WAS AUDITED")  # noqa: T201
        return 0 if os.environ.get("CI") else 2
    unknown = [f"{name} {version}" for name, version in sorted(wanted - answers.answered)]
    print(f"audit: {len(answers.answered)} of {len(wanted)} pins got an answer")  # noqa: T201
    if unknown:
        print(f"audit: nothing could be learned about {', '.join(unknown)}")  # noqa: T201
    for each in answers.advisories:
        print(f"audit: {each}")  # noqa: T201
    allowed = tomllib.loads((HERE / "allowed.toml").read_text(encoding="utf-8")).get("allow", [])
    faults = judge(answers, allowed, datetime.now(UTC).date())
    for fault in faults:
        print(f"audit: FAILED: {fault}")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
