"""What can happen to a database's files while nobody looks: the ways C6 damages them.

Promises that a damage is a function of its chance alone, and says which files it changed.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096
DATABASE, LOG, INDEX = "easel.db", "easel.db-wal", "easel.db-shm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A store as it lies there, and what else lies about: an older copy of it, another store.

    `active` are byte strings that only rows of open jobs hold, such as their ids.
    """

    folder: Path
    older: Path
    other: Path
    active: Sequence[bytes]


Damage = Callable[[Scene, random.Random], None]


def flipped_byte(scene: Scene, chance: random.Random) -> None:
    """Flip one bit of a byte that is not empty, anywhere in the database."""
    path = scene.folder / DATABASE
    data = path.read_bytes()
    _flip(path, chance.choice([place for place, byte in enumerate(data) if byte]), chance)


def flipped_active(scene: Scene, chance: random.Random) -> None:
    """Flip one bit near an open job's id: in its row, or in an index entry of it."""
    path = scene.folder / chance.choice([DATABASE, LOG])
    data = path.read_bytes()
    places = [place for name in scene.active for place in _all(data, name)]
    if not places:
        flipped_byte(scene, chance)
        return
    near = chance.choice(places) + chance.randrange(-40, 250)
    _flip(path, min(max(near, 0), len(data) - 1), chance)


def zeroed_page(scene: Scene, chance: random.Random) -> None:
    """Lose a page, as a disk does that gives zeros for what it cannot read."""
    path = scene.folder / DATABASE
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data) // PAGE) * PAGE
    data[start : start + PAGE] = bytes(PAGE)
    path.write_bytes(data)


def truncated(scene: Scene, chance: random.Random) -> None:
    """Cut the file short, at the end of a page or anywhere, or to nothing."""
    path = scene.folder / DATABASE
    data = path.read_bytes()
    length = chance.choice([0, chance.randrange(len(data)), chance.randrange(len(data)) & ~4095])
    path.write_bytes(data[:length])


def missing(scene: Scene, chance: random.Random) -> None:
    """Lose the database, with its log or without."""
    (scene.folder / DATABASE).unlink()
    if chance.random() < 0.5:
        log_missing(scene, chance)


def log_missing(scene: Scene, _chance: random.Random) -> None:
    """Lose the log, and with it the newest changes."""
    for name in (LOG, INDEX):
        with suppress(FileNotFoundError):
            (scene.folder / name).unlink()


def log_flipped(scene: Scene, chance: random.Random) -> None:
    """Flip one bit in the log."""
    path = scene.folder / LOG
    _flip(path, chance.randrange(path.stat().st_size), chance)


def log_truncated(scene: Scene, chance: random.Random) -> None:
    """Cut the log short."""
    path = scene.folder / LOG
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def log_foreign(scene: Scene, chance: random.Random) -> None:
    """Find the log of another store, or of an older copy, beside the database."""
    source = chance.choice([scene.other, scene.older])
    (scene.folder / INDEX).unlink(missing_ok=True)
    (scene.folder / LOG).write_bytes((source / LOG).read_bytes())


def swapped_older(scene: Scene, chance: random.Random) -> None:
    """Find an older copy in the database's place, with its own log or without any."""
    _swap(scene.older, scene, chance)


def swapped_other(scene: Scene, chance: random.Random) -> None:
    """Find another store's database in the place."""
    _swap(scene.other, scene, chance)


DAMAGES: tuple[Damage, ...] = (
    flipped_active,
    flipped_byte,
    zeroed_page,
    flipped_active,
    truncated,
    flipped_byte,
    log_missing,
    log_flipped,
    flipped_active,
    log_truncated,
    log_foreign,
    swapped_older,
    swapped_other,
    missing,
)


def _swap(source: Path, scene: Scene, chance: random.Random) -> None:
    log_missing(scene, chance)
    (scene.folder / DATABASE).write_bytes((source / DATABASE).read_bytes())
    if chance.random() < 0.5:
        (scene.folder / LOG).write_bytes((source / LOG).read_bytes())


def _flip(path: Path, place: int, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _all(data: bytes, name: bytes) -> list[int]:
    found, place = [], data.find(name)
    while place >= 0:
        found.append(place)
        place = data.find(name, place + 1)
    return found
