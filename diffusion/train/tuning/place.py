"""The folder beside a result in which a run keeps its state, its curve and its sheets.

Promises: a state goes on with the settings, the model and the pictures that it was begun with, or
not at all, and the sentence says what is different; a finished file is never written over by
another run.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffusion.train.tuning.recipe import TuningError


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run lives. out: the result, a file or a folder."""

    out: Path

    @property
    def folder(self) -> Path:
        """Where state, curve and sheets are."""
        return self.out.with_name(f"{self.out.stem}-training")

    @property
    def state(self) -> Path:
        """The last checkpoint."""
        return self.folder / "state.safetensors"

    @property
    def settings(self) -> Path:
        """What the state was begun with."""
        return self.folder / "settings.json"

    def claim(self, settings: Mapping[str, object]) -> bool:
        """Begin a run with these settings (JSON values), or say that one is to go on: True.

        TuningError when there is a run of other settings, or a result that no run here made.
        """
        wanted = json.loads(json.dumps(settings))
        if self.state.exists():
            _compare(self._begun(), wanted, self)
            return True
        if self.out.exists():
            raise TuningError(
                f"{self.out} is there already, and no run to go on with: choose another --out, or "
                "take it away."
            )
        self._write(json.dumps(wanted, indent=1) + "\n")
        return False

    def _begun(self) -> dict[str, object]:
        try:
            begun = json.loads(self.settings.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TuningError(
                f"{self.settings} cannot be read ({error}), so nobody knows what the state beside "
                f"it was begun with: choose another --out, or delete {self.folder}."
            ) from error
        return begun if isinstance(begun, dict) else {}

    def _write(self, text: str) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = self.settings.with_suffix(".part")
            beside.write_text(text, encoding="utf-8")
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(self.settings)
        except OSError as error:
            raise TuningError(
                f"{self.folder} cannot be written ({error.strerror}): choose another --out."
            ) from error


def _compare(begun: Mapping[str, object], wanted: Mapping[str, object], place: Place) -> None:
    names = dict.fromkeys([*begun, *wanted])
    other = [name for name in names if begun.get(name) != wanted.get(name)]
    if other:
        told = "; ".join(f"{n} was {_shown(begun, n)}, now {_shown(wanted, n)}" for n in other[:4])
        raise TuningError(
            f"{place.folder} holds a run that was begun with other settings ({told}). Go on with "
            "the same ones, choose another --out for a new run, or delete that folder."
        )


def _shown(settings: Mapping[str, object], name: str) -> str:
    return f"{settings.get(name, 'not there')!s:.60}"
