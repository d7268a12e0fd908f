"""Locked dependencies: complete, hashed, as pyproject.toml wants them; advisories; no downloads."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import audit, lock

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "requirements"
PRODUCT = ("product.txt", "torch.txt")
ALL = (*PRODUCT, "torch-cpu.txt", "development.txt", "reference.txt", "upscale.txt", "kernels.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(*names: str) -> dict[str, list[Requirement]]:
    """Return the pins of some lock files by package: one, or one for each range of Pythons."""
    found: dict[str, list[Requirement]] = {}
    for name in names:
        text = (LOCKS / name).read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if line and not line.startswith("#"):
                pin = Requirement(line.split("--hash")[0].strip())
                found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def wanted(requirements: list[str]) -> list[Requirement]:
    return [Requirement(each) for each in requirements]


def test_every_pin_is_of_one_version_and_has_a_hash() -> None:
    for path in LOCKS.glob("*.txt"):
        blocks = lock.blocks(path.read_text(encoding="utf-8"))
        assert blocks or path.name == "torch-cpu.txt", path.name
        for name, block in blocks.items():
            heads = [line for line in block.splitlines() if line[0] not in " #"]
            assert all(re.match(rf"{re.escape(name)}==[^ *]+ ", head) for head in heads), name
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)
            assert len(hashes) == block.count("--hash="), f"{name} has a hash of another kind"
            assert len(hashes) >= len(heads), name


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    ("system", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
)
def test_what_is_asked_for_is_locked_everywhere(python: str, system: str, machine: str) -> None:
    place = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "extra": "",
    }
    for names, requirements in (
        (PRODUCT, PROJECT["project"]["dependencies"]),
        ((*PRODUCT, "development.txt"), PROJECT["dependency-groups"]["test"]),
        (("upscale.txt",), PROJECT["project"]["optional-dependencies"]["upscale"]),
    ):
        locked = pins(*names)
        for requirement in wanted(requirements):
            here = [
                pin
                for pin in locked.get(canonicalize_name(requirement.name), [])
                if pin.marker is None or pin.marker.evaluate(place)
            ]
            assert len(here) == 1, f"{requirement} is locked {len(here)} times for {place}"
            (specifier,) = here[0].specifier
            assert requirement.specifier.contains(specifier.version), requirement


def test_the_lock_is_closed() -> None:
    """What a locked package needs, its own metadata being asked, is locked too and fits."""
    locked = pins(*PRODUCT, "development.txt")
    seen = 0
    for name in pins("product.txt", "development.txt"):
        try:
            needs = wanted(requires(name) or [])
        except PackageNotFoundError:
            continue  # For another system.
        for need in needs:
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            found = locked.get(canonicalize_name(need.name))
            assert found, f"{name} needs {need}, which is not locked"
            versions = {spec.version for pin in found for spec in pin.specifier}
            assert any(need.specifier.contains(each) for each in versions), f"{name}: {need}"
            seen += 1
    assert seen > 100


def test_what_is_installed_here_is_what_is_locked() -> None:
    locked = pins("product.txt", "development.txt")
    seen = 0
    for name, found in locked.items():
        for pin in found:
            if pin.marker is None or pin.marker.evaluate():
                assert {spec.version for spec in pin.specifier} == {version(name)}, name
                seen += 1
    assert seen > 70


def test_torch_is_locked_in_both_builds() -> None:
    (torch,) = pins("torch.txt")["torch"]
    (cpu,) = pins("torch-cpu.txt")["torch"]
    assert str(cpu.specifier) == f"{torch.specifier}+cpu"
    assert version("torch").split("+")[0] == str(torch.specifier).removeprefix("==")
    for name in pins("product.txt"):
        assert not lock.COMPANIONS.fullmatch(name), f"{name} would be installed for every torch"


def test_no_file_names_an_index() -> None:
    paths = [path for path in LOCKS.iterdir() if path.suffix in {".txt", ".in", ".toml", ".py"}]
    assert len(paths) > 8
    for path in (*paths, ROOT / "Makefile", ROOT / ".ci/run"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text), path.name


def test_make_installs_from_the_lock_files_alone() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [
        line for line in text.splitlines() if "pip install" in line or "(PIP) install" in line
    ]
    (locked,) = [line for line in installs if line.startswith("INSTALL :=")]
    for flag in ("--require-hashes", "--no-deps", "--only-binary :all:"):
        assert flag in locked
    rest = [line for line in installs if line != locked]
    assert len(rest) == 1, "only Easel itself comes from elsewhere: from this folder"
    for flag in ("--no-index", "--no-build-isolation", "--no-deps", "--editable ."):
        assert flag in rest[0]
    used = set(re.findall(r"-r requirements/([a-z-]+\.txt)", text))
    assert used == {path.name for path in LOCKS.glob("*.txt")}


def test_a_lock_file_is_taken_apart_by_package() -> None:
    text = "# head\na-b==1 ; x\\\n    --hash=sha256:1\na-b==2 ; y\\\n    --hash=sha256:2\nc==3\n"
    found = lock.blocks(text)
    assert list(found) == ["a-b", "c"]
    assert found["a-b"].count("--hash") == 2


# Advisories.


@contextmanager
def index(pages: dict[str, Any]) -> Iterator[str]:
    """Serve the pages of projects as an index does; return its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.get(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found or {}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/pypi"
        finally:
            server.shutdown()
            thread.join()


def page(release: str, **known: object) -> dict[str, Any]:
    advisories = [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": [], **known}] if known else []
    return {"info": {"version": release}, "vulnerabilities": advisories}


def test_a_projects_page_answers_for_its_newest_release_alone() -> None:
    pages = {
        "/pypi/good/json": page("1"),
        "/pypi/old/json": page("2"),
        "/pypi/bad/json": page("3", fixed_in=["4"]),
        "/pypi/taken-back/json": page("5", withdrawn="2026-01-01"),
    }
    asked = {("good", "1"), ("old", "1"), ("bad", "3"), ("taken-back", "5"), ("unknown", "1")}
    with index(pages) as address:
        answers = audit.ask_pages(asked, address)
    assert answers.answered == {("good", "1"), ("bad", "3"), ("taken-back", "5")}
    (advisory,) = answers.advisories
    assert advisory.ids == {"PYSEC-1", "CVE-1"}
    assert "bad 3" in str(advisory)
    assert "fixed in 4" in str(advisory)


def test_an_index_that_is_away_answers_nothing() -> None:
    with index({}) as address:
        pass
    assert audit.ask_pages({("a", "1")}, address) == audit.Answers()


def test_advisories_with_a_fix_fail_unless_they_are_allowed_for_now() -> None:
    answers = audit.read(
        [
            {"name": "a", "version": "1", "vulns": [{"id": "X", "fix_versions": ["2"]}]},
            {"name": "b", "version": "1", "vulns": [{"id": "Y", "fix_versions": []}]},
            {"name": "c", "version": "1", "vulns": []},
        ]
    )
    assert len(answers.answered) == 3
    today = date(2026, 8, 1)
    (fault,) = audit.judge(answers, [], today)
    assert fault == "a 1: X (fixed in 2)"
    allowed = {"id": "X", "reason": "never called", "until": date(2026, 8, 1)}
    assert audit.judge(answers, [allowed], today) == []
    (late,) = audit.judge(answers, [allowed], date(2026, 8, 2))
    assert "X" in late


def test_the_allowed_have_a_reason_and_a_day() -> None:
    found = tomllib.loads((LOCKS / "allowed.toml").read_text(encoding="utf-8"))
    for each in found.get("allow", []):
        assert set(each) == {"id", "reason", "until"}
        assert len(each["reason"]) > 20
        assert isinstance(each["until"], date)


@pytest.mark.parametrize(("ci", "code"), [("", 2), ("true", 0)])
def test_where_nobody_answers_it_says_so(
    ci: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(audit, "ask", lambda service, wanted: audit.Answers())
    monkeypatch.setattr(audit, "ask_pages", lambda wanted, address: audit.Answers())
    assert audit.main() == code
    assert "NOTHING WAS AUDITED" in capsys.readouterr().out


def test_every_lock_file_is_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[str, str]] = set()

    def ask(service: str, wanted: set[tuple[str, str]]) -> audit.Answers:
        seen.update(wanted)
        return audit.Answers(answered=set(wanted))

    monkeypatch.setattr(audit, "ask", ask)
    assert audit.main() == 0
    for name in (*ALL, "tools.txt"):
        for package, found in pins(name).items():
            for pin in found:
                (specifier,) = pin.specifier
                assert (package, specifier.version.split("+")[0]) in seen, pin


# No downloads after the installation.

# Runs Easel's command line with every address but the loopback's forbidden, and says so if it asks
# for another or starts a program that could ask for it.
GUARD = """
import sys
def guard(event, found):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        address = found[0] if event == "socket.getaddrinfo" else found[1]
        host = address[0] if isinstance(address, tuple) else address
        if host not in ("127.0.0.1", "localhost", "::1", None):
            print("WENT OUT", event, host, file=sys.stderr, flush=True)
            raise OSError("there is no network here")
    if event == "subprocess.Popen":
        print("STARTED", found[0], file=sys.stderr, flush=True)
sys.addaudithook(guard)
from bot.__main__ import main
sys.argv = ["easel", *sys.argv[1:]]
main()
"""


def easel(folder: Path, *arguments: str, until: str = "") -> subprocess.CompletedProcess[str]:
    """Run Easel with no network, an empty home and no caches, to its end or a word of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", GUARD, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while until and until not in said and (line := process.stdout.readline()):
            said += line
        if until:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=50)
    return subprocess.CompletedProcess(process.args, process.returncode, said + out, err)


def test_the_shipped_model_paints_with_nothing_downloaded(tmp_path: Path) -> None:
    done = easel(tmp_path, "imagine", "a red heart --steps 2 --seed 7")
    assert done.returncode == 0, done.stderr
    assert "WENT OUT" not in done.stderr
    assert "STARTED" not in done.stderr
    assert (tmp_path / "grid.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_demo_starts_with_nothing_downloaded(tmp_path: Path) -> None:
    done = easel(tmp_path, "demo", "--port", "0", until="Easel is at")
    assert "Easel is at" in done.stdout, done.stderr
    assert "WENT OUT" not in done.stderr
    assert "STARTED" not in done.stderr


def test_the_guard_sees_what_goes_out(tmp_path: Path) -> None:
    done = easel(tmp_path, "models", "pull", "nobody/nothing")
    assert done.returncode != 0
    assert "WENT OUT" in done.stderr
