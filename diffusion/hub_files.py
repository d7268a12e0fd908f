"""Which files of a hub repository make a checkpoint.

Promises: pure decisions over names, sizes and hashes; every name is checked before it can become a
path; pickles are refused with a sentence. Never touches the network.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from diffusion.errors import CheckpointError

_BLOCK: Final = 1 << 20
_WEIGHTS: Final = ".safetensors"
_DESCRIPTIONS: Final = (".json", ".txt")
_PICKLES: Final = (".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle")
# name[.variant][-00001-of-00002][.variant].safetensors
_WEIGHT_NAME: Final = re.compile(
    r"(?P<base>[^.]+?)(?:\.(?P<early>[\w]+))?(?P<shard>-\d{5}-of-\d{5})?(?:\.(?P<late>[\w]+))?"
    r"\.safetensors"
)
_INDEX_NAME: Final = re.compile(r"[^.]+\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file as the hub tells of it: its name, size in bytes, and its hash.

    `digest` is the SHA-256 of a large file (LFS), or the git blob's SHA-1 of a small one.
    """

    name: str
    size: int
    digest: str
    large: bool

    def matches(self, path: Path) -> bool:
        """Whether a file on disk has this size and hash. Reads all of it."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        # git names its blobs by SHA-1; nothing secret hangs on it.
        hasher = hashlib.sha256() if self.large else hashlib.sha1(usedforsecurity=False)
        if not self.large:
            hasher.update(b"blob %d\0" % self.size)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
        return hasher.hexdigest() == self.digest


def listing(repo: str, answer: object) -> tuple[str, dict[str, HubFile]]:
    """Read the hub's description of a revision: its commit, and its files by name.

    Raises CheckpointError for a description that is not one, or a name that is no plain path.
    """
    try:
        if not isinstance(answer, dict):
            raise TypeError("not an object")
        commit = answer["sha"]
        if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise ValueError(f"commit {commit!r}")
        files = [_hub_file(entry) for entry in answer["siblings"]]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the hub's description of {repo} is not understood ({error!r}); is the endpoint a hub?"
        ) from error
    for file in files:
        _check_name(repo, file.name)
    return commit, {file.name: file for file in files}


def _hub_file(entry: Mapping[str, object]) -> HubFile:
    name, size, lfs = entry["rfilename"], entry["size"], entry.get("lfs")
    digest = lfs["sha256"] if isinstance(lfs, dict) else entry["blobId"]
    length = 64 if isinstance(lfs, dict) else 40
    if not isinstance(name, str) or not isinstance(size, int) or size < 0:
        raise ValueError(f"file {name!r} of size {size!r}")
    if not isinstance(digest, str) or not re.fullmatch(rf"[0-9a-f]{{{length}}}", digest):
        raise ValueError(f"file {name!r} with hash {digest!r}")
    return HubFile(name=name, size=size, digest=digest, large=isinstance(lfs, dict))


def _check_name(repo: str, name: str) -> None:
    parts = name.split("/")
    hostile = any(part in {"", ".", ".."} for part in parts) or not name.isprintable()
    if hostile or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise CheckpointError(
            f"{repo} lists a file named {name!r}, which would leave its folder; do not trust it."
        )


def read_components(path: Path) -> tuple[str, ...]:
    """Return the folders that a model_index.json names. Raises CheckpointError."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        entries = index.items()
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is no description of a model ({error}).") from error
    return tuple(
        name
        for name, value in entries
        if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)
    )


def choose(
    repo: str,
    known: Mapping[str, HubFile],
    *,
    files: Sequence[str] | None,
    components: Sequence[str] | None,
    variant: str | None,
) -> list[HubFile]:
    """Return the files to fetch.

    `files` names them; else `components` are the folders of a whole model; else the repository has
    a single file, or is itself one component (it has a config.json). Raises CheckpointError.
    """
    if files is not None:
        return [_named(repo, known, name) for name in files]
    if components is None:
        return _single(repo, known, variant)
    chosen = [known["model_index.json"]]
    for component in components:
        inside = [f for f in known.values() if str(PurePosixPath(f.name).parent) == component]
        if inside:
            chosen += _component(repo, component, inside, variant)
    if not any(file.name.endswith(_WEIGHTS) for file in chosen):
        raise CheckpointError(f"{repo} has a model_index.json and no weights; name its file.")
    return chosen


def _named(repo: str, known: Mapping[str, HubFile], name: str) -> HubFile:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _PICKLES:
        raise CheckpointError(
            f"{name} is a pickle, which can run code when it is opened; Easel never loads one. "
            "Look for a .safetensors file of the same model."
        )
    if suffix not in (_WEIGHTS, *_DESCRIPTIONS):
        raise CheckpointError(
            f"{name} is no checkpoint file; only .safetensors, .json and .txt are fetched."
        )
    if name not in known:
        raise CheckpointError(f"{repo} has no file {name!r}; it has {_shown(known)}.")
    return known[name]


def _single(repo: str, known: Mapping[str, HubFile], variant: str | None) -> list[HubFile]:
    top = [file for file in known.values() if "/" not in file.name]
    if any(file.name == "config.json" for file in top):
        return _component(repo, "", top, variant)
    weights = [file for file in top if file.name.endswith(_WEIGHTS)]
    if len(weights) == 1:
        return weights
    if not weights:
        raise CheckpointError(_no_weights(repo, "", known))
    raise CheckpointError(
        f"{repo} has several checkpoints; name one: {_shown([file.name for file in weights])}."
    )


def _component(
    repo: str, component: str, inside: Sequence[HubFile], variant: str | None
) -> list[HubFile]:
    """Return descriptions and the weights of one variant."""
    sets: dict[str | None, list[HubFile]] = {}
    for file in inside:
        match = _WEIGHT_NAME.fullmatch(PurePosixPath(file.name).name)
        if match:
            sets.setdefault(match["early"] or match["late"], []).append(file)
    if not sets:
        names = [file.name for file in inside]
        if any(name.lower().endswith(_PICKLES) for name in names):
            raise CheckpointError(_no_weights(repo, component, names))
    kept = next((v for v in (variant, None) if v in sets), min(sets, key=str, default=None))
    weights = _whole(repo, sets.get(kept, []))
    return [*(f for f in inside if _describes(f.name, kept, sharded=len(weights) > 1)), *weights]


def _whole(repo: str, weights: list[HubFile]) -> list[HubFile]:
    """Prefer the one whole file to shards of the same."""
    whole = [file for file in weights if "-of-0" not in file.name]
    if len(whole) > 1:
        raise CheckpointError(
            f"{repo} has several checkpoints; name one: {_shown([file.name for file in whole])}."
        )
    return whole or weights


def _describes(name: str, variant: str | None, *, sharded: bool) -> bool:
    index = _INDEX_NAME.fullmatch(PurePosixPath(name).name)
    if index:
        return sharded and index["variant"] == variant
    other = name.endswith(".index.json") or ".index." in name
    return name.lower().endswith(_DESCRIPTIONS) and not other


def _no_weights(repo: str, component: str, names: Collection[str]) -> str:
    where = f"{component} of {repo}" if component else repo
    if any(name.lower().endswith(_PICKLES) for name in names):
        return (
            f"{where} has only pickled weights, which can run code when they are opened; Easel "
            "never loads those. Look for a repository with .safetensors files."
        )
    return f"{where} has no .safetensors file; it has {_shown(names)}."


def _shown(names: Collection[str]) -> str:
    few = sorted(names)[:8]
    more = len(names) - len(few)
    return (", ".join(few) or "no files") + (f" and {more} more" if more else "")
