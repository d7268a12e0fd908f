"""A client's end of a narrow line: its kernel takes little ahead of what the server lets in.

On loopback it would take megabytes, and whoever uploads would not notice that nobody reads.
"""

import functools
import socket
from typing import Any

import aiohttp

KERNEL_BUFFER = 8 * 1024


def narrow_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make a socket for one address, as a connector asks for it."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    return made


def narrow_this_process() -> None:
    """Let every client that this process makes from now on have a narrow line."""
    connector = functools.partial(aiohttp.TCPConnector, socket_factory=narrow_socket)
    vars(aiohttp)["TCPConnector"] = connector
