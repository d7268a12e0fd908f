"""The house rules that a reader could otherwise only hope for: who imports whom, and what `import
diffusion` costs.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("bot", "diffusion", "storage")
# Which room may import which other room, and which libraries live in one room only.
ARROWS = {"bot": {"diffusion", "storage"}, "diffusion": set[str](), "storage": set[str]()}
HOMES = {
    "discord": "bot",
    "aiohttp": "bot",
    "typer": "bot",
    "torch": "diffusion",
    "transformers": "diffusion",
    "tokenizers": "diffusion",
    "safetensors": "diffusion",
    "sqlalchemy": "storage",
    "alembic": "storage",
    "aiosqlite": "storage",
}
# Only tests may use these: the peer that parity is measured against, and everything that runs code
# from data.
# `easel bench` measures against it where it is installed; nothing else may know it.
PEER = {"diffusers"}
BANNED = {"diffusers", "pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle"}

# The engine's core, which one person can read in a day: what takes a job from its arrival to its
# pictures beside everybody else's, on any device and in any memory. Samplers, networks, texts and
# files are what it works with.
CORE = [
    "denoiser",
    "engine",
    "exact",
    "fairness",
    "footprints",
    "hoisted",
    "job",
    "lane",
    "ledger",
    "machine",
    "pace",
    "painting",
    "plan",
    "preparing",
    "residency",
    "room",
    "rows",
    "saved",
    "slot_painting",
    "slots",
    "step",
    "tail",
    "transfer",
    "turns",
]
CORE_LINES = 4000


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Every top-level package that a file imports, wherever in the file, lazily or not."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("import_module")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).split(".")[0]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_along_the_arrows(room: str) -> None:
    assert modules(room), f"{room}/ has no modules: the test would prove nothing"
    for path in modules(room):
        strangers = imported(path) & (set(ROOMS) - {room} - ARROWS[room])
        assert not strangers, f"{relative(path)} imports {strangers}"


@pytest.mark.parametrize("library", HOMES)
def test_libraries_stay_in_their_room(library: str) -> None:
    users = {room for room in ROOMS for path in modules(room) if library in imported(path)}
    assert users == {HOMES[library]}


def test_nothing_runs_code_from_data() -> None:
    for path in (path for room in ROOMS for path in modules(room)):
        allowed = PEER if relative(path).startswith("diffusion/bench/peer") else set()
        assert not imported(path) & (BANNED - allowed), relative(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, relative(path)
            if isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                assert called not in {"torch.load", "torch.save", "yaml.load"}, relative(path)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("diffusion", {"torch", "transformers", "discord", "sqlalchemy"}),
        ("storage", {"torch", "discord", "diffusion", "bot"}),
        ("bot.config", {"torch", "transformers"}),
        ("bot.prompt", {"torch", "discord", "sqlalchemy"}),
    ],
)
def test_importing_is_cheap(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert module.split(".")[0] in loaded
    assert not loaded & unwanted


def test_the_dependencies_are_the_imports() -> None:
    """A package that nobody imports any more must not stay in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    used = {name for room in ROOMS for path in modules(room) for name in imported(path)}
    names = {"discord.py": "discord", "pillow": "PIL", "prometheus-client": "prometheus_client"}
    for requirement in project["dependencies"]:
        name = requirement.split("[")[0].split(">")[0].split("=")[0].strip()
        assert names.get(name, name.replace("-", "_")) in used, f"nobody imports {name}"


def test_the_core_of_the_engine_stays_small() -> None:
    texts = [(ROOT / "diffusion" / f"{name}.py").read_text(encoding="utf-8") for name in CORE]
    assert sum(len(text.splitlines()) for text in texts) <= CORE_LINES
