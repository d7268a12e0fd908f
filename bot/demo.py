"""`easel demo`: the real bot against a loopback Discord, with a page to look at, in one process.

Promises that nothing leaves this machine and that no account is needed.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from bot import texts
from bot.config import Config, StorageConfig
from bot.exits import Exit
from bot.playground import Playground, aim
from bot.serving import serve


async def run_demo(*, port: int, folder: Path, announce: Callable[[str], None]) -> None:
    """Start the playground and the bot; `announce` gets the page's address when all is ready."""
    config = Config(storage=StorageConfig(folder=folder))
    playground = Playground(port=port)
    try:
        await _start(playground, port)
        restore = aim(playground.api_base, playground.gateway_url, playground.cdn_base)
        try:
            await serve(
                config,
                playground.token,
                config_path=None,
                on_ready=lambda: announce(playground.page_url),
            )
        finally:
            restore()
    finally:
        await playground.close()


async def _start(playground: Playground, port: int) -> None:
    try:
        await playground.start()
    except OSError as error:
        forbidden = isinstance(error, PermissionError)
        raise Exit((texts.port_forbidden if forbidden else texts.port_in_use)(port)) from error


def demo(*, port: int, folder: Path, announce: Callable[[str], None]) -> None:
    """Run the demo until it is interrupted."""
    asyncio.run(run_demo(port=port, folder=folder, announce=announce))
