"""The picture that a prompt starts from: taken in, and cut to the shape of what is painted.

Promises that an upload is opened by `diffusion.pictures` alone, in a thread, that what is kept of
it are its pixels (no camera data, no place), and that a picture is cropped, never squeezed.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import discord
from PIL import Image, ImageOps

from bot.enclosed import read_enclosed
from bot.jobs import own_picture, plain_png
from diffusion.pictures import decode_picture
from storage import Store

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# No picture is painted larger than this from an upload, and smaller files are quicker to keep.
LARGEST_SIDE: Final = 2048


async def keep_upload(attachment: discord.Attachment, store: Store) -> str:
    """Keep an attached picture and return its hash.

    EnclosedError and PictureError hold a sentence for who attached it.
    """
    data = await read_enclosed(attachment)
    return await store.keep_file(await asyncio.to_thread(_taken_in, data))


async def shaped(store: Store, sha256: str, width: int, height: int) -> str:
    """Keep the middle of a kept picture in another shape, and return that one's hash."""
    data = await store.read_file(sha256)
    return await store.keep_file(await asyncio.to_thread(_cropped, data, width, height))


def _taken_in(data: bytes) -> bytes:
    picture = decode_picture(data)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return plain_png(_bare(picture))


def _cropped(data: bytes, width: int, height: int) -> bytes:
    picture = own_picture(data)
    return plain_png(_bare(ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)))


def _bare(picture: "Picture") -> "Picture":
    """Return the pixels without what a file said about them."""
    bare = Image.new("RGB", picture.size)
    bare.paste(picture)
    return bare
