"""Reading the file that somebody attached to a command: from Discord's own store and nowhere else.

Promises that no address of a person's choosing is ever opened: a file is fetched over the address
that Discord gave with the interaction, only from Discord's two hosts for files, only where these
names lead to public addresses, without following a redirect, with a limit on bytes and on time.
What comes out is bytes; `diffusion.pictures` opens them.
"""

import asyncio
import ipaddress
import socket
from typing import Final

import aiohttp
import discord
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from discord.asset import Asset

from bot import texts_people
from diffusion.pictures import MAX_PICTURE_BYTES

SECONDS: Final = 10.0
_CHUNK: Final = 65_536
# Networks without IPv4 translate the last four bytes of these into an address of it (RFC 6052).
_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")
_STORE: Final = "https://cdn.discordapp.com"
_PROXY: Final = "https://media.discordapp.net"


class EnclosedError(Exception):
    """A file that cannot be had; the text is a sentence for who attached it."""


async def read_enclosed(attachment: discord.Attachment) -> bytes:
    """Return the bytes of an attached file; EnclosedError with a sentence otherwise."""
    if attachment.size > MAX_PICTURE_BYTES:
        raise EnclosedError(texts_people.file_too_large(MAX_PICTURE_BYTES))
    if not is_of_discord(attachment.url):
        raise EnclosedError(texts_people.file_unreadable())
    try:
        async with asyncio.timeout(SECONDS):
            return await _fetch(attachment.url)
    except (aiohttp.ClientError, OSError) as error:
        raise EnclosedError(texts_people.file_unreadable()) from error


def is_of_discord(url: str) -> bool:
    """Say whether an address lies at one of Discord's hosts for files."""
    return any(url.startswith(f"{base}/") for base in (Asset.BASE, _PROXY)) and "@" not in url


def is_public(host: str) -> bool:
    """Say whether an address is one of the whole Internet's, as is one that it may hold inside."""
    address = ipaddress.ip_address(host)
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    inner = address.ipv4_mapped or address.sixtofour
    if address in _TRANSLATED:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return not address.is_site_local and (inner is None or is_public(str(inner)))


class PublicOnly(AbstractResolver):
    """Finds the addresses of a host, and knows none that lies in somebody's own network."""

    def __init__(self) -> None:
        """Ask the resolver that aiohttp would ask."""
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a host; OSError when one is not."""
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(each["host"]) for each in found):
            raise OSError(f"{host} leads into a private network")
        return found

    async def close(self) -> None:
        """Close the resolver underneath."""
        await self._resolver.close()


async def _fetch(url: str) -> bytes:
    # A playground's own store is on this machine, and stands in Discord's place.
    real = url.startswith((f"{_STORE}/", f"{_PROXY}/"))
    connector = aiohttp.TCPConnector(resolver=PublicOnly() if real else None)
    async with (
        aiohttp.ClientSession(connector=connector, trust_env=True) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status != 200:
            raise EnclosedError(texts_people.file_unreadable())
        data = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > MAX_PICTURE_BYTES:
                raise EnclosedError(texts_people.file_too_large(MAX_PICTURE_BYTES))
        return bytes(data)
