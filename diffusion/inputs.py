"""The pictures that come with a job's params. Never imports torch."""

from dataclasses import dataclass

from PIL import Image

from diffusion.errors import ParamsError
from diffusion.params import Params


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """Pictures that `Params` names by their hash: what to start from, where to repaint, hints.

    `mask` is white where `init_image` is repainted; `hints` are those of `Params.controls`, in
    their order. Sizes need not fit: pictures are resampled.
    """

    init_image: Image.Image | None = None
    mask: Image.Image | None = None
    hints: tuple[Image.Image, ...] = ()

    def check(self, params: Params) -> None:
        """Raise ParamsError where params ask for a picture that is not here."""
        for name in ("init_image", "mask"):
            if getattr(params, name) is not None and getattr(self, name) is None:
                raise ParamsError(name, getattr(params, name), "its picture was not handed over")
        if self.mask is not None and self.init_image is None:
            raise ParamsError("mask", params.mask, "repainting needs init_image, too")
        if len(self.hints) != len(params.controls):
            raise ParamsError(
                "controls",
                len(params.controls),
                f"{len(self.hints)} hints were handed over; each ControlNet needs its picture",
            )
