"""Fetching checkpoints from a model hub, at the admin's word and never otherwise.

Promises: what lands in the folder are real files with the names they have on the hub, each of the
size and hash that the hub tells for it; an interrupted download goes on where it stopped; nothing
pickled is ever fetched; no name reaches outside the folder. Never imports torch, never runs on its
own, sends no telemetry.

## Why the hub's own downloader is not used
huggingface_hub gives the session, the token and the errors. Its `hf_hub_download` starts an
interrupted file anew, keeps a cache beside the folder and describes this machine in its user agent
(asking the hub for a registry of agents first), so the bytes are fetched here.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from diffusion.errors import CheckpointError
from diffusion.hub_files import HubFile, choose, listing, read_components

Progress: TypeAlias = Callable[[int, int, str], None]

DEFAULT_ENDPOINT: Final = "https://huggingface.co"

_TRIES: Final = 4
_TIMEOUT_S: Final = 30.0
# Left free on the disk, so that a pull never starves the database beside it.
_RESERVE: Final = 256 * 2**20
_INDEX: Final = "model_index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One revision of one repository on one hub."""

    endpoint: str
    repo: str
    revision: str

    @property
    def page(self) -> str:
        return f"{self.endpoint}/{self.repo}"

    def url(self, name: str) -> str:
        return f"{self.page}/resolve/{quote(self.revision, safe='')}/{quote(name)}"


def pull(
    repo: str,
    folder: Path,
    *,
    revision: str = "main",
    files: Sequence[str] | None = None,
    variant: str | None = None,
    endpoint: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a checkpoint into `folder`; return its folder, or the file if it is a single one.

    Without `files` a whole model comes: the components that model_index.json names, or the one
    safetensors file of a repository without it. `variant` ("fp16") is preferred where the hub has
    it. `progress` is told (bytes done, bytes in all, file) as bytes arrive. A gated repository
    needs the token that huggingface_hub knows (HF_TOKEN). Raises CheckpointError: no such
    repository, refused, pickles only, no room on the disk, interrupted (run again to go on),
    damaged.
    """
    if repo.count("/") > 1 or not all(_plain(part) for part in repo.split("/")):
        raise CheckpointError(f"{repo!r} names no repository; write it as owner/name.")
    source = _Source(
        endpoint=(endpoint or DEFAULT_ENDPOINT).rstrip("/"), repo=repo, revision=revision
    )
    with _translated(source):
        commit, known = _describe(source)
        # One commit for every file: a push in between must not mix two versions.
        source = _Source(endpoint=source.endpoint, repo=repo, revision=commit)
        components = None
        if files is None and _INDEX in known:
            _fetch_all(source, [known[_INDEX]], folder, progress=None)
            components = read_components(folder / _INDEX)
        chosen = choose(repo, known, files=files, components=components, variant=variant)
        _fetch_all(source, chosen, folder, progress=progress)
    return folder / chosen[0].name if len(chosen) == 1 else folder


def _plain(part: str) -> bool:
    return part not in {"", ".", ".."} and part.replace("-", "a").replace(".", "a").isidentifier()


def _headers() -> dict[str, str]:
    from huggingface_hub import get_token

    # Compressed answers could not be resumed by their byte range.
    headers = {"user-agent": "easel", "accept-encoding": "identity"}
    token = get_token()
    if token:
        headers["authorization"] = f"Bearer {token}"
    return headers


def _describe(source: _Source) -> tuple[str, dict[str, HubFile]]:
    """Ask the hub for the commit behind a revision and its files."""
    from huggingface_hub import get_session, hf_raise_for_status

    response = get_session().get(
        f"{source.endpoint}/api/models/{source.repo}/revision/{quote(source.revision, safe='')}",
        params={"blobs": True},
        headers=_headers(),
        timeout=_TIMEOUT_S,
    )
    hf_raise_for_status(response)
    return listing(source.repo, response.json())


@contextmanager
def _translated(source: _Source) -> Iterator[None]:
    """Turn whatever the hub's client raises into one sentence with what to do."""
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError:
        raise
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise CheckpointError(_absent(source, error)) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{source.repo} has no revision {source.revision!r}; see {source.page}/tree/main."
        ) from error
    except OSError as error:
        # HTTP errors of the hub are OSErrors too, with a status.
        status = _status(error)
        if status in (401, 403):
            raise CheckpointError(_refused(source)) from error
        raise CheckpointError(
            f"{source.repo} could not be fetched ({error}); run it again to go on."
        ) from error
    # The client brings its own HTTP library, whose errors have no base in common with the others.
    except Exception as error:
        raise CheckpointError(
            f"{source.endpoint} gave no usable answer for {source.repo} "
            f"({type(error).__name__}: {error}); check the network and run it again to go on."
        ) from error


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _refused(source: _Source) -> str:
    return (
        f"{source.endpoint} does not hand out {source.repo} to this account: accept its licence "
        f"at {source.page} and set HF_TOKEN to a token that may read it."
    )


def _absent(source: _Source, error: BaseException) -> str:
    if _status(error) in (401, 403):
        return _refused(source)
    return f"{source.endpoint} has no repository {source.repo!r}; check the spelling (owner/name)."


def _fetch_all(
    source: _Source, files: Sequence[HubFile], folder: Path, *, progress: Progress | None
) -> None:
    """Bring every file into the folder, after checking that all of them fit."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not file.matches(_target(folder, file))]
    _check_room(source, missing, folder)
    total = sum(file.size for file in files)
    done = total - sum(file.size for file in missing)
    for file in missing:
        _fetch(source, file, folder, partial(_tell, progress, total, file.name, done))
        done += file.size
    if not missing and files:
        _tell(progress, total, files[-1].name, done, 0)


def _tell(progress: Progress | None, total: int, name: str, before: int, now: int) -> None:
    if progress is not None:
        progress(before + now, total, name)


def _target(folder: Path, file: HubFile) -> Path:
    """Return where a file belongs; a link that leads out of the folder is refused."""
    target = folder / file.name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise CheckpointError(f"{target} leads out of {folder} by a link; remove the link.")
    return target


def _partial(folder: Path, file: HubFile) -> Path:
    # Named by its contents: what another version left behind is never continued.
    target = _target(folder, file)
    return target.with_name(f".{target.name}.{file.digest[:16]}.part")


def _check_room(source: _Source, missing: Sequence[HubFile], folder: Path) -> None:
    here = sum(part.stat().st_size for f in missing if (part := _partial(folder, f)).is_file())
    needed = sum(file.size for file in missing) - here
    free = shutil.disk_usage(folder).free
    if missing and needed + _RESERVE > free:
        raise CheckpointError(
            f"{source.repo} needs {needed / 2**30:.2f} GiB more in {folder}, where "
            f"{free / 2**30:.2f} GiB are free ({_RESERVE / 2**30:.2f} GiB stay free); make room or "
            "choose another folder."
        )


def _fetch(source: _Source, file: HubFile, folder: Path, tell: Callable[[int], None]) -> None:
    """Bring one file: partial first, then verified, then under its name."""
    target, part = _target(folder, file), _partial(folder, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    tries = 0
    while (have := part.stat().st_size if part.exists() else 0) < file.size or not have:
        try:
            _receive(source, file, part, have, tell)
        # See _translated: a broken line has no type that can be named here.
        except Exception as error:
            gained = part.exists() and part.stat().st_size > have
            tries = 1 if gained else tries + 1
            # An answer of the hub is final, and so is an error of this machine's disk.
            if isinstance(error, OSError | CheckpointError) or tries >= _TRIES:
                raise
        if file.size == 0:
            break
    if not file.matches(part):
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"{file.name} of {source.repo} arrived damaged (its hash is not {file.digest[:12]}…, "
            "as the hub says) and was deleted; run it again."
        )
    part.replace(target)


def _receive(
    source: _Source, file: HubFile, part: Path, have: int, tell: Callable[[int], None]
) -> None:
    """Append to the partial file what the hub sends, from where it ends."""
    from huggingface_hub import get_session, hf_raise_for_status

    headers = _headers() | ({"range": f"bytes={have}-"} if have else {})
    with get_session().stream(
        "GET", source.url(file.name), headers=headers, timeout=_TIMEOUT_S
    ) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise EOFError("the hub has no more of this file; starting it anew")
        hf_raise_for_status(response)
        resumed = response.headers.get("content-range", "").startswith(f"bytes {have}-")
        if not (response.status_code == 206 and resumed):
            have = 0
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            tell(have)
            for block in response.iter_bytes():
                have += len(block)
                if have > file.size:
                    out.truncate(0)
                    raise CheckpointError(
                        f"the hub sends more of {file.name} than the {file.size} bytes it has told "
                        "of; nothing was kept."
                    )
                out.write(block)
                tell(have)
            out.flush()
            os.fsync(out.fileno())
    if have < file.size:
        raise EOFError(f"{file.name} ended after {have} of {file.size} bytes")
