"""Word lists that a prompt may draw from: text files of an admin's, found by name.

Promises: a name is looked up in a table that was read before, so no text of a person ever becomes a
path; a file that is no UTF-8, too large or behind a link is left out and told to the log; and a
folder that is not there is an empty table. Reads files: call it in a thread.

A list is a `.txt` file, one entry a line, `#` before a comment. `animals/cats.txt` is
`__animals/cats__`. Lines that hold a flag are left out: words come first, flags last.
"""

import logging
import re
from pathlib import Path
from typing import Final

from bot.prompt import Lists
from bot.prompt.scan import LINK, find_marks, tidy

MOST_FILES: Final = 1000
MOST_BYTES: Final = 1 << 20
MOST_LINES: Final = 20_000
LONGEST_LINE: Final = 1000
_NAME: Final = re.compile(r"[^\W_](?:[\w/-]*[^\W_])?")

log = logging.getLogger(__name__)


def load_wildcards(folder: Path | None) -> Lists:
    """Return the lines of every list of a folder by its name, in lower case."""
    if folder is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        home = folder.resolve()
        paths = sorted(folder.rglob("*.txt"))[:MOST_FILES]
    except OSError as error:
        log.warning("the word lists in %s cannot be read: %s", folder, error)
        return {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix().casefold()
        if not _NAME.fullmatch(name) or "__" in name:
            log.warning("%s is left out: its name cannot stand in a prompt", path)
            continue
        lines = _lines(path, home)
        if lines:
            found[name] = lines
    return found


def _lines(path: Path, home: Path) -> tuple[str, ...]:
    try:
        if not path.resolve().is_relative_to(home) or not path.is_file():
            log.warning("%s is left out: it lies outside the folder of word lists", path)
            return ()
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            log.warning("%s is left out: it is larger than %d bytes", path, MOST_BYTES)
            return ()
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        log.warning("%s is left out: %s", path, error)
        return ()
    entries = (" ".join(tidy(line).split()) for line in text.splitlines()[:MOST_LINES])
    return tuple(entry for entry in entries if _is_entry(entry))


def _is_entry(entry: str) -> bool:
    if not entry or entry.startswith("#") or len(entry) > LONGEST_LINE or entry.endswith("\\"):
        return False
    return next(find_marks(entry), None) is None and LINK.search(entry) is None
