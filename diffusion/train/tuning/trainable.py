"""What the loop needs of a thing that can be trained."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from diffusion.model import Model


class Trainable(Protocol):
    """A LoRA, a new word, or all weights of a model."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What is trained: every parameter of these, and nothing else."""

    @property
    def trains_text(self) -> bool:
        """Whether `context` changes from step to step."""

    def worded(self, caption: str) -> str:
        """Return the caption as it is learned."""

    def context(self, captions: Sequence[str]) -> Tensor:
        """Return N x T x D states of captions, with gradients."""

    def attached(self) -> AbstractContextManager[None]:
        """Let what is trained take part in the model, for the length of the block."""

    def for_painting(self, model: Model, folder: Path) -> Model:
        """Return a model that paints as it is now; `folder` may be written to."""

    def write(self, out: Path, weights: Mapping[str, Tensor], notes: Mapping[str, str]) -> Path:
        """Write the result, `weights` by "<network>.<parameter>", with metadata."""
