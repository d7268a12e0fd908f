"""The bodies of requests: JSON, or a form with files; read as they come, or slowly on purpose.

Promises that a body which is let in slowly is the same in the end, and that whoever sends it feels
it: what is not yet due is left in the socket, until the sender's own buffers are full.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web

from bot.playground.cdn import Upload
from bot.playground.errors import ApiError, Refusal
from bot.playground.faults import Fault
from bot.playground.validate import REQUEST_SIZE_LIMIT

FRAME = 1024 * 1024
# As much as the kernel takes for a fresh connection; one that was quick has grown to megabytes.
KERNEL_BUFFER = 64 * 1024


async def read_body(
    request: web.Request, throttle: Fault | None = None
) -> tuple[Any, tuple[Upload, ...]]:
    """Read JSON, or a multipart form with `payload_json` and files; at a fault's pace, if given."""
    length = request.content_length or 0
    if length > REQUEST_SIZE_LIMIT + FRAME:
        raise Refusal.TOO_LARGE.error()
    if not request.can_read_body:
        return None, ()
    content = request.content if throttle is None else await trickled(request, throttle)
    if request.content_type == "application/json":
        return parse_json(await content.read()), ()
    if request.content_type != "multipart/form-data":
        raise ApiError(400, 50035, "Invalid Form Body", errors={"_errors": []})
    body: Any = {}
    files: list[Upload] = []
    async for part in MultipartReader(request.headers, content):
        if not isinstance(part, BodyPartReader):
            raise Refusal.INVALID_JSON.error()
        data = bytes(await part.read(decode=False))
        if part.name == "payload_json":
            body = parse_json(data)
        elif part.name is not None and (found := re.fullmatch(r"files\[(\d+)\]", part.name)):
            name = part.filename or "unknown"
            files.append(Upload(index=found.group(1), filename=name, data=data))
    if sum(len(upload.data) for upload in files) > REQUEST_SIZE_LIMIT:
        raise Refusal.TOO_LARGE.error()
    return body, tuple(files)


async def trickled(request: web.Request, fault: Fault) -> StreamReader:
    """Let a body in from the socket at a fault's pace, and return it whole."""
    loop, content, transport = asyncio.get_running_loop(), request.content, request.transport
    if transport is None:
        raise ConnectionResetError("the client went away")
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
    whole = StreamReader(request.protocol, REQUEST_SIZE_LIMIT + FRAME, loop=loop)
    due = loop.time()
    while piece := await content.readany():
        whole.feed_data(piece)
        due += len(piece) / fault.bytes_per_second
        # At the end there is nothing to hold back, and who hangs up is to be noticed.
        if not content.is_eof():
            transport.pause_reading()
        await let_go(fault, due - loop.time())
        transport.resume_reading()
    whole.feed_eof()
    return whole


async def let_go(fault: Fault, seconds: float) -> None:
    """Wait until a fault lets go of its requests, or until the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await fault.released.wait()
    except TimeoutError:
        return


def parse_json(data: bytes) -> Any:  # noqa: ANN401
    """Parse a JSON body or refuse it."""
    try:
        return json.loads(data) if data else None
    except ValueError:
        raise Refusal.INVALID_JSON.error() from None
