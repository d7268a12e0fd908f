"""What is said about a configuration that cannot be used. Never quotes a secret."""

from pathlib import Path


class ConfigError(Exception):
    """A configuration is refused: which file, which line, which key, why, and what was meant.

    `line` is 1-based, or None when the fault has no line (a missing file). `key` is written as in
    the file, with its section: `[queue] max_waiting`. `nearest` is a known name like the wrong one.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path,
        line: int | None = None,
        key: str | None = None,
        nearest: str | None = None,
    ) -> None:
        """Keep the parts; `str()` joins them into one paragraph."""
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        self.nearest = nearest

    def __str__(self) -> str:
        """Say everything in one paragraph."""
        place = str(self.file) if self.line is None else f"{self.file}, line {self.line}"
        key = "" if self.key is None else f"{self.key} "
        meant = "" if self.nearest is None else f" Did you mean {self.nearest}?"
        return f"{place}: {key}{self.message}{meant}"
