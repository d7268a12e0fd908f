"""The CDN: uploaded files and faces, kept in a temporary folder and served as they came.

Promises ids, sizes and, for pictures, width and height read from the file itself.
Never serves anything that a browser would run.
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from PIL import Image, UnidentifiedImageError

from bot.playground.people import draw_face
from bot.playground.wire import Json
from bot.playground.world import World

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
UNKNOWN = "application/octet-stream"
SPOILER, ANIMATED = 1 << 3, 1 << 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file of a request: the part's index, its name and its bytes."""

    index: str
    filename: str
    data: bytes
    content_type: str = UNKNOWN


class Cdn:
    """Stores files and answers for them."""

    def __init__(self, world: World, base: Callable[[], str]) -> None:
        self._world = world
        self._base = base
        self._folder = tempfile.TemporaryDirectory(prefix="easel-playground-")
        self._types: dict[int, str] = {}

    def close(self) -> None:
        """Delete every file."""
        self._folder.cleanup()

    async def store(self, upload: Upload, channel_id: int, description: str | None = None) -> Json:
        """Keep a file and return its attachment object."""
        attachment_id = self._world.ids.next()
        look = await asyncio.to_thread(look_at, upload.data)
        await asyncio.to_thread(self._path(attachment_id).write_bytes, upload.data)
        self._types[attachment_id] = look.media_type
        filename = clean_name(upload.filename)
        url = f"{self._base()}/attachments/{channel_id}/{attachment_id}/{quote(filename)}"
        attachment: Json = {
            "id": str(attachment_id),
            "filename": filename,
            "size": len(upload.data),
            "url": url,
            "proxy_url": url,
            "content_type": look.media_type,
        }
        if look.size is not None:
            attachment |= {"width": look.size[0], "height": look.size[1]}
        hidden = filename.startswith("SPOILER_")
        if flags := (SPOILER if hidden else 0) | (ANIMATED if look.animated else 0):
            attachment["flags"] = flags
        if description is not None:
            attachment["description"] = description
        return attachment

    async def read(self, attachment_id: int) -> bytes:
        """Return a stored file."""
        return await asyncio.to_thread(self._path(attachment_id).read_bytes)

    async def serve_attachment(self, request: web.Request) -> web.StreamResponse:
        """Answer GET /attachments/<channel>/<id>/<name>."""
        attachment_id = int(request.match_info["attachment_id"])
        if attachment_id not in self._types:
            raise web.HTTPNotFound
        data = await self.read(attachment_id)
        return reply(data, self._types[attachment_id])

    async def serve_face(self, request: web.Request) -> web.StreamResponse:
        """Answer GET /avatars/<user>/<hash>.png with the drawn face."""
        wanted = (request.match_info["user_id"], request.match_info["avatar"])
        for person in self._world.accounts:
            if wanted == (str(person.id), person.avatar):
                return reply(await asyncio.to_thread(draw_face, person), "image/png")
        raise web.HTTPNotFound

    async def serve_default_face(self, request: web.Request) -> web.StreamResponse:
        """Answer GET /embed/avatars/<n>.png."""
        return reply(await asyncio.to_thread(draw_face, self._world.bot), "image/png")

    def _path(self, attachment_id: int) -> Path:
        return Path(self._folder.name) / str(attachment_id)


def routes(cdn: Cdn, prefix: str) -> list[web.RouteDef]:
    """Return the CDN's routes under a prefix."""
    attachment = "/attachments/{channel_id:[0-9]+}/{attachment_id:[0-9]+}/{filename}"
    return [
        web.get(prefix + attachment, cdn.serve_attachment),
        web.get(prefix + "/avatars/{user_id:[0-9]+}/{avatar}.png", cdn.serve_face),
        web.get(prefix + "/embed/avatars/{number:[0-9]+}.png", cdn.serve_default_face),
    ]


def reply(data: bytes, content_type: str) -> web.Response:
    """Answer with a file that no browser takes for a page."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "sandbox",
    }
    return web.Response(body=data, content_type=content_type, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a file turned out to be; `size` is None for all but pictures."""

    media_type: str = UNKNOWN
    size: tuple[int, int] | None = None
    animated: bool = False


def look_at(data: bytes) -> Look:
    """Read what a file is from the file itself."""
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as picture:
            return Look(
                media_type=Image.MIME.get(picture.format or "", UNKNOWN),
                size=picture.size,
                animated=getattr(picture, "n_frames", 1) > 1,
            )
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return Look()


def clean_name(name: str) -> str:
    """Rewrite a file name as Discord does: letters, digits, `_`, `-` and `.` only."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", name.replace(" ", "_"))[-255:] or "unknown"
