"""How the program ends: exit codes, and the one error that carries one.

Promises that an expected fault ends with a sentence and a code, never with a traceback.
"""

from typing import Final

# sysexits.h: a supervisor restarts after 70 and must not after 78.
SOFTWARE: Final = 70
CONFIG: Final = 78
# As shells say it of a program that Ctrl-C ended.
INTERRUPTED: Final = 130


class Exit(Exception):  # noqa: N818 - an end, not always an error
    """The program ends with this sentence on standard error and this exit code."""

    def __init__(self, sentence: str, *, code: int = CONFIG) -> None:
        """Keep both."""
        super().__init__(sentence)
        self.code = code
