"""The npm packages that hold the openly licensed art, pinned, and how they are fetched.

Promises: exactly the versions of the table, fetched with npm's own client and without running any
script of theirs. Never: a download by other means, or a licence taken from npm's word alone (the
licences below are those that the authors of the art give; see THIRD_PARTY_ART.md).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NPM_SECONDS: Final = 900.0


class PackagesError(RuntimeError):
    """The art packages are missing, of another version, or cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One pinned npm package; `style` is the word captions use, empty for the name tables."""

    name: str
    version: str
    style: str
    licence: str
    author: str
    source: str


PACKAGES: Final[tuple[Package, ...]] = (
    Package(
        name="@lobehub/fluent-emoji-3d",
        version="1.1.0",
        style="3d",
        licence="MIT",
        author="Microsoft",
        source="https://github.com/microsoft/fluentui-emoji",
    ),
    Package(
        name="@iconify-json/twemoji",
        version="1.2.5",
        style="twemoji",
        licence="CC-BY-4.0",
        author="Twitter, Inc. and other contributors",
        source="https://github.com/jdecked/twemoji",
    ),
    Package(
        name="@iconify-json/noto",
        version="1.2.9",
        style="noto",
        licence="Apache-2.0",
        author="Google Inc.",
        source="https://github.com/googlefonts/noto-emoji",
    ),
    Package(
        name="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        style="fluent flat",
        licence="MIT",
        author="Microsoft",
        source="https://github.com/microsoft/fluentui-emoji",
    ),
    Package(
        name="@iconify-json/noto-v1",
        version="1.2.5",
        style="blob",
        licence="Apache-2.0",
        author="Google Inc.",
        source="https://github.com/googlefonts/noto-emoji",
    ),
    Package(
        name="@iconify-json/emojione",
        version="1.2.3",
        style="emojitwo",
        licence="CC-BY-4.0",
        author="EmojiTwo contributors",
        source="https://github.com/EmojiTwo/emojitwo",
    ),
    Package(
        name="@iconify-json/fxemoji",
        version="1.2.2",
        style="fxemoji",
        licence="CC-BY-4.0",
        author="Mozilla (Firefox OS Emoji)",
        source="https://github.com/mozilla/fxemoji",
    ),
    Package(
        name="@iconify-json/streamline-emojis",
        version="1.2.4",
        style="streamline",
        licence="CC-BY-4.0",
        author="Streamline",
        source="https://github.com/webalys-hq/streamline-vectors",
    ),
    Package(
        name="unicode-emoji-json",
        version="0.9.0",
        style="",
        licence="MIT",
        author="Mu-An Chiou",
        source="https://github.com/muan/unicode-emoji-json",
    ),
    Package(
        name="cldr-annotations-full",
        version="48.2.0",
        style="",
        licence="Unicode-3.0",
        author="Unicode, Inc.",
        source="https://github.com/unicode-org/cldr-json",
    ),
)
STYLES: Final[tuple[str, ...]] = tuple(package.style for package in PACKAGES if package.style)


def package_folder(root: Path, package: Package) -> Path:
    """Return where npm puts a package below the `--prefix` folder."""
    return root / "node_modules" / package.name


def installed_version(root: Path, package: Package) -> str | None:
    """Return the version that lies in the folder, None when the package is not there."""
    manifest = package_folder(root, package) / "package.json"
    try:
        version = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise PackagesError(
            f"{manifest} is damaged ({error}); delete its folder, then build again."
        ) from error
    return str(version)


def ensure_packages(root: Path, packages: tuple[Package, ...] = PACKAGES) -> None:
    """Fetch with npm whatever of the table is missing or of another version in `root`."""
    missing = [p for p in packages if installed_version(root, p) != p.version]
    if not missing:
        return
    wanted = [f"{package.name}@{package.version}" for package in missing]
    npm = shutil.which("npm")
    if npm is None:
        raise PackagesError(
            f"{len(wanted)} art packages are missing in {root} ({', '.join(wanted)}) and there is "
            "no npm to fetch them. Install Node.js with npm, or point to a folder that has them."
        )
    root.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(root), "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and pinned names, no shell
            [*command, "--save-exact", *wanted],
            capture_output=True,
            text=True,
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackagesError(
            f"npm did not finish in {NPM_SECONDS:.0f} s; check the network, then build again."
        ) from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-8:]
        raise PackagesError(f"npm ended with {done.returncode}: " + " | ".join(last))
    for package in missing:
        found = installed_version(root, package)
        if found != package.version:
            raise PackagesError(
                f"npm left {package.name} at {found}, wanted {package.version}; delete {root}."
            )
