"""The page's own files, and who may ask for them.

Promises that a browser runs nothing but these files and that only this machine's names are heard.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

PAGE = Path(__file__).parent / "page"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def page_file(name: str) -> web.FileResponse:
    """Answer with one of the page's own files."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' http://127.0.0.1:* data:; "
        "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return web.FileResponse(PAGE / name, headers=headers)


def is_loopback(host: str) -> bool:
    """Tell whether a Host header names this machine, against DNS rebinding."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.strip("[]") in LOOPBACK
