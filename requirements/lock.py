"""`python requirements/lock.py`: make the lock files from pyproject.toml and the `.in` files.

Promises that every pin has a hash, that a pin moves only with `--upgrade` or where a requirement
asks for it, and that no address of an index is written down. Needs `uv`, which resolves for every
Python and system at once; `make lock` brings it.

## Why torch has files of its own

What an index has of torch for Linux is the build for CUDA, with gigabytes of libraries behind it;
the build for the CPU comes from elsewhere under a version of its own and needs none of them. So
`torch.txt` holds the first with its companions, `torch-cpu.txt` the second, and what both have in
common is in `product.txt`. A machine installs one of the two.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
HEAD: Final = "# Made by `make lock`. Do not edit: change {source} and run it again.\n"
# Only torch's build for CUDA needs these.
COMPANIONS: Final = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)")
# What is installed beside everything else, without what it says it needs.
ASIDE: Final = ("reference", "upscale", "kernels", "sqlite-older", "sqlite-newer")
PYTHONS: Final = ("3.11", "3.12", "3.13")
# The systems that torch's build for the CPU is looked for on.
LINUX: Final = ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")


def blocks(text: str) -> dict[str, str]:
    """Take a lock file apart: what it says of each package, one pin or several for some Pythons."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        match = _NAME.match(line)
        name = match[0] if match else name
        if name:
            found[name] = found.get(name, "") + line
    return found


def resolve(
    source: Path, *more: str, old: Iterable[Path] = (), upgrade: bool = False
) -> dict[str, str]:
    """Resolve the requirements of a file for every system; keep old pins unless told otherwise."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "lock.txt")
        if not upgrade:
            output.write_text("".join(path.read_text() for path in old if path.exists()))
        subprocess.run(  # noqa: S603 - our own command
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"),
                *("--python-version", PYTHONS[0], "--generate-hashes", "--no-header"),
                *("--no-emit-index-url", "--only-binary", ":all:", "--no-annotate"),
                *(str(source.relative_to(ROOT)), *more, "--output-file", str(output)),
            ],
            cwd=ROOT,
            check=True,
        )
        return blocks(output.read_text())


def write(name: str, source: str, pins: Iterable[str]) -> None:
    """Write one lock file."""
    (HERE / name).write_text(HEAD.format(source=source) + "".join(pins))


def lock_product(*, upgrade: bool) -> dict[str, str]:
    """Lock what a bot needs, torch's builds apart; return all of it."""
    old = [HERE / "product.txt", HERE / "torch.txt"]
    found = resolve(ROOT / "pyproject.toml", old=old, upgrade=upgrade)
    torch = {name: pin for name, pin in found.items() if COMPANIONS.fullmatch(name)}
    write("torch.txt", "pyproject.toml", torch.values())
    common = (pin for name, pin in found.items() if name not in torch)
    write("product.txt", "pyproject.toml", common)
    return found


def lock_development(product: dict[str, str], *, upgrade: bool) -> dict[str, str]:
    """Lock what the tests need besides, the product's pins being settled; return all of it."""
    old = [HERE / "product.txt", HERE / "torch.txt", HERE / "development.txt"]
    with TemporaryDirectory() as folder:
        pins = Path(folder, "product.txt")
        pins.write_text("".join(product.values()))
        more = ("--group", "pyproject.toml:test", "--constraint", str(pins))
        found = resolve(ROOT / "pyproject.toml", *more, old=old, upgrade=upgrade)
    write(
        "development.txt",
        "[dependency-groups] in pyproject.toml",
        (pin for name, pin in found.items() if name not in product),
    )
    return found


def lock_cpu(torch: str) -> None:
    """Lock torch's build for the CPU, as far as pip's sources have it; else keep what is known."""
    version = torch.split()[0].removeprefix("torch==")
    path = HERE / "torch-cpu.txt"
    known = path.read_text() if path.exists() else ""
    hashes = set(re.findall(r"sha256:[0-9a-f]{64}", known)) if f"{version}+cpu" in known else set()
    for python in PYTHONS:
        for system in LINUX:
            hashes |= hash_of(f"torch=={version}+cpu", python, system)
    if not hashes:
        print(f"no source has torch {version}+cpu; {path.name} is empty", file=sys.stderr)  # noqa: T201
    lines = (f" \\\n    --hash={each}" for each in sorted(hashes))
    pin = f"torch=={version}+cpu{''.join(lines)}\n" if hashes else ""
    write(path.name, "pyproject.toml", [pin])


def hash_of(pin: str, python: str, system: str) -> set[str]:
    """Download a wheel for some Python and system, and return its hash; empty if there is none."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - our own command
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary", ":all:", "--python-version", python, "--platform", system),
                *("--dest", folder, pin),
            ],
            capture_output=True,
            check=False,
        )
        wheels = list(Path(folder).glob("*.whl")) if done.returncode == 0 else []
        return {f"sha256:{sha256(wheel.read_bytes()).hexdigest()}" for wheel in wheels}


def main() -> None:
    """Write every lock file."""
    upgrade = "--upgrade" in sys.argv[1:]
    product = lock_product(upgrade=upgrade)
    everything = lock_development(product, upgrade=upgrade)
    lock_cpu(product["torch"])
    for name in ASIDE:
        lock_file(name, "--no-deps", upgrade=upgrade)
    with TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text("".join(everything.values()))
        lock_file("tools", "--constraint", str(pins), upgrade=upgrade)


def lock_file(name: str, *more: str, upgrade: bool) -> None:
    """Lock one of the `.in` files."""
    source, target = HERE / f"{name}.in", HERE / f"{name}.txt"
    found = resolve(source, *more, old=[target], upgrade=upgrade)
    write(target.name, f"requirements/{source.name}", found.values())


if __name__ == "__main__":
    main()
