"""Cutting a prompt's tokens into the windows of a text transformer.

Promises: no token is dropped, an embedding of several vectors is never cut in two, and a window
that is full gives what follows its last comma to the next one, if that is near (AUTOMATIC1111's
rule). Pure functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor

# A1111 looks back 20 tokens in a window of 75 for the comma.
_BACKTRACK: Final = 20 / 75


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Token:
    """One unit of a prompt: a token's id, or n x D vectors of an embedding; `weight` is emphasis.

    `ends_window` forces what follows into the next window (BREAK).
    """

    id: int = 0
    weight: float = 1.0
    vectors: Tensor | None = None
    is_comma: bool = False
    ends_window: bool = False

    def __len__(self) -> int:
        """Return the number of positions it takes."""
        return 1 if self.vectors is None else len(self.vectors)


@dataclass(slots=True)
class Window:
    """The tokens between begin and end of one window."""

    tokens: list[Token] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Positions in use."""
        return sum(len(token) for token in self.tokens)


def cut(tokens: Sequence[Token], room: int) -> list[Window]:
    """Cut tokens into windows of at most `room` positions; one window at least."""
    windows: list[Window] = []
    current = Window()
    for token in tokens:
        if token.ends_window:
            windows.append(current)
            current = Window()
            continue
        if current.length + len(token) > room:
            current, rest = _split_at_comma(current, token, room)
            windows.append(current)
            current = rest
        current.tokens.append(token)
    if current.tokens or not windows:
        windows.append(current)
    return windows


def _split_at_comma(window: Window, token: Token, room: int) -> tuple[Window, Window]:
    """Return a full window and the beginning of the next one."""
    if token.is_comma or token.vectors is not None or window.length < room:
        return window, Window()
    behind = 0
    for place in range(len(window.tokens) - 1, -1, -1):
        if window.tokens[place].is_comma:
            if behind + 1 > round(_BACKTRACK * room):
                break
            return Window(window.tokens[: place + 1]), Window(window.tokens[place + 1 :])
        behind += len(window.tokens[place])
    return window, Window()
