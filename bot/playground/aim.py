"""Points discord.py at a playground instead of at Discord.

Promises to touch the three addresses and nothing else. Never needed against the real Discord.
"""

from __future__ import annotations

from collections.abc import Callable

import discord
from discord.asset import Asset
from discord.gateway import DiscordWebSocket
from discord.http import Route
from yarl import URL


def aim(api_base: str, gateway_url: str, cdn_base: str) -> Callable[[], None]:
    """Set the addresses that discord.py uses from now on; call the result to take it back."""
    before = (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE)

    def put(api: str, gateway: URL, cdn: str) -> None:
        discord.http.Route.BASE = api
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = gateway
        discord.asset.Asset.BASE = cdn

    put(api_base, URL(gateway_url), cdn_base)
    return lambda: put(*before)
