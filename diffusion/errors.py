"""Every error that `diffusion` raises on purpose, in one small tree.

Promises: each carries a message that names the value, the limit and what to do, fit to be shown to
a person; catching `DiffusionError` catches them all. Never imports torch.
"""


class DiffusionError(Exception):
    """Base of everything that goes wrong inside `diffusion`."""


class ParamsError(DiffusionError, ValueError):
    """A parameter is of the wrong type or outside its limits; carries which one and advice."""

    def __init__(self, field: str, value: object, advice: str) -> None:
        super().__init__(f"{field} is {_shown(value)}: {advice}")
        self.field = field
        self.value = value
        self.advice = advice

    def __reduce__(self) -> tuple[type["ParamsError"], tuple[str, object, str]]:
        """Let the error cross a process boundary with its parts."""
        return type(self), (self.field, self.value, self.advice)


class CheckpointError(DiffusionError):
    """A weights file or its description is missing, damaged or of an unknown make."""


class UnknownModelError(DiffusionError, LookupError):
    """No model of that name is known and no folder is at that path."""


class AbilityError(DiffusionError):
    """A model cannot do what is asked of it, whatever the parameters: it has no part for that."""


class PictureError(DiffusionError, ValueError):
    """A foreign picture is refused: wrong format, too large, animated or damaged."""


class NumericalError(DiffusionError):
    """The numbers of one job are no longer finite; that job alone fails."""


class OutOfMemoryError(DiffusionError):
    """The device has no room for this job; a smaller one may fit."""


class EngineClosedError(DiffusionError):
    """The engine is shut and takes no more jobs."""


class EngineDeadError(DiffusionError):
    """The device is lost to this process, which must exit (code 70) and be started again."""


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10**40:
        # The decimal text of an integer beyond 4300 digits is itself an error.
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str) and len(value) > 60:
        return f"{value[:40]!r}... ({len(value)} characters)"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
