"""A job's own making as a film: the previews of its steps, then the finished picture.

Promises a file that Discord takes: where it would be too large it gets smaller, and where even that
does not help there is none. Takes CPU time: call it in a thread.
"""

from collections.abc import Sequence
from typing import Final

from PIL import Image

from bot import jobs
from diffusion import ModelInfo, Params
from diffusion.pictures import encode_film
from storage import Job, NewPicture

FRAME_MS: Final = 120
LAST_MS: Final = 1500
SIDE: Final = 512
LEAST_SIDE: Final = 128
MOST_FRAMES: Final = 100


def film_of(
    job: Job, params: Params, frames: Sequence[Image.Image], model: ModelInfo | None
) -> list[NewPicture]:
    """Return the film that is posted beside a job's pictures; nothing where it cannot be small.

    The last of the frames is what all others become, and stands longest.
    """
    side, most = SIDE, jobs.details_of(job).get("limit", jobs.MAX_UPLOAD)
    frames = [*frames[:-1][:: -(-len(frames) // MOST_FRAMES)], frames[-1]]
    provenance = jobs.provenance_of(job, 0, params, model)
    while side >= LEAST_SIDE:
        sized = [_sized(frame, frames[-1], side) for frame in frames]
        durations = [FRAME_MS] * (len(sized) - 1) + [LAST_MS]
        data = encode_film(sized, provenance, durations=durations)
        if len(data) <= most:
            width, height = sized[0].size
            return [
                NewPicture(
                    index=jobs.FILM_INDEX,
                    data=data,
                    width=width,
                    height=height,
                    media_type=jobs.WEBP,
                )
            ]
        side //= 2
    return []


def _sized(frame: Image.Image, like: Image.Image, side: int) -> Image.Image:
    """Return a frame at the film's size: pictures dropped on the way leave smaller ones behind."""
    scale = side / max(like.size)
    size = max(1, round(like.width * scale)), max(1, round(like.height * scale))
    return frame.convert("RGB").resize(size, Image.Resampling.LANCZOS)
