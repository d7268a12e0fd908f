"""What the grammar says when it cannot read a text: where, why, and the text mended.

`PromptError` is all that leaves the package; `Flaw` is its raw form inside the parser, before the
mended text has been tried. Neither ever changes or shortens what the person typed.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

_WIDE_SPACE: Final = "\u3000"


class Flaw(Exception):  # noqa: N818 - not an error yet: the parser turns it into one
    """One fault in a text: the place, the sentence, and the whole text with this fault mended."""

    def __init__(self, message: str, *, start: int, end: int, mended: str | None = None) -> None:
        """Remember the place as offsets into the tidied text."""
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.mended = mended


class PromptError(ValueError):
    """A prompt that cannot be read, with its place and, where there is one, a mended prompt.

    `text` is the prompt as it was read (control signs gone), `start` and `end` are offsets into
    it, and `suggestion` is a whole prompt that parses, or None. `choices` are several such prompts,
    each with a label, where it takes a person to choose; the first is the suggestion.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str,
        start: int,
        end: int,
        suggestion: str | None = None,
        mend: Callable[[], str | None] | None = None,
        choices: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Keep the sentence, the place, and the mended prompt or the way to find it."""
        super().__init__(message)
        self.message = message
        self.text = text
        self.start = max(0, min(start, len(text)))
        self.end = max(self.start, min(end, len(text)))
        self.choices = tuple(choices)
        self._suggestion = self.choices[0][1] if self.choices else suggestion
        self._mend = mend

    @property
    def suggestion(self) -> str | None:
        """Return the mended prompt; it is looked for when first asked, not while parsing."""
        if self._mend is not None:
            self._suggestion, self._mend = self._mend(), None
        return self._suggestion

    def caret(self, width: int = 60) -> str:
        """Show the place in two lines: a window of the text, and carets under the fault."""
        left, right = _window(self.text, self.start, self.end, width)
        head, tail = ("…" if left else ""), ("…" if right < len(self.text) else "")
        shown = head + self.text[left:right] + tail
        before = " " * len(head) + _blank(self.text[left : self.start])
        marked = self.text[self.start : min(self.end, right)]
        return f"{shown}\n{before}{'^' * max(1, _columns(marked))}"


def _window(text: str, start: int, end: int, width: int) -> tuple[int, int]:
    """Choose the slice of the text that shows the fault with some words before it."""
    if len(text) <= width:
        return 0, len(text)
    wanted = min(end - start, width // 2)
    left = max(0, min(start - (width - wanted) * 2 // 3, len(text) - width))
    return left, min(len(text), left + width)


def _blank(text: str) -> str:
    """Make a run of spaces as wide as the text in a font of fixed width."""
    return "".join(_cell(character) for character in text)


def _cell(character: str) -> str:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return ""
    return _WIDE_SPACE if unicodedata.east_asian_width(character) in "WF" else " "


def _columns(text: str) -> int:
    return sum(2 if cell == _WIDE_SPACE else 1 for cell in map(_cell, text) if cell)
