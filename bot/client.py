"""The Discord client: commands, buttons, and staying connected; what they do lies elsewhere.

Promises minimal intents, no pings but those a message asks for itself, that no exception of a
command and no press of an unknown button goes unanswered, and that a token which Discord takes back
ends the run instead of being tried again. Knows no job and no queue.
"""

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord import app_commands

from bot import texts
from bot.answers import say
from bot.buttons import Press
from bot.commands.about import about
from bot.commands.admin import admin
from bot.commands.help import help_command
from bot.commands.history import history
from bot.commands.ideas import IDEAS
from bot.commands.imagine import imagine
from bot.commands.info import info
from bot.commands.menus import menus
from bot.commands.people import PEOPLE
from bot.commands.show import show
from bot.exits import Exit
from bot.governor import Governor
from bot.language import speak
from bot.presses.remix import submitted
from bot.prompting import RETYPE_ID, run_retyped
from bot.reactions import reacted
from bot.reconnecting import Backoff, Knocks
from bot.strays import answer_stray
from bot.texts_discord import not_accepted
from bot.translator import CommandTranslator
from storage import StorageError

if TYPE_CHECKING:
    from bot.services import Interaction, Services

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
TOKEN_REFUSED: Final = 4004
UNAUTHORIZED: Final = 401

log = logging.getLogger(__name__)


class Tree(app_commands.CommandTree["EaselClient"]):
    """The commands; an error in one of them is answered and logged."""

    async def interaction_check(self, interaction: "Interaction", /) -> bool:
        """Let everybody in, once, and answer in their language."""
        speak(str(interaction.locale))
        return self.client.services.arrivals.is_first(interaction)

    async def on_error(
        self, interaction: "Interaction", error: app_commands.AppCommandError, /
    ) -> None:
        """Say that something went wrong, with a reference into the log."""
        cause = getattr(error, "original", error)
        if isinstance(cause, StorageError):
            log.error("interaction %d failed: %s", interaction.id, cause)
            await say(interaction, not_accepted(cause))
            return
        log.error("interaction %d failed", interaction.id, exc_info=cause)
        if interaction.type is not discord.InteractionType.autocomplete:
            await say(interaction, texts.internal_error(str(interaction.id)))


class EaselClient(discord.Client):
    """discord.py with our commands; `services` is set by the app before it connects."""

    services: "Services"

    def __init__(self, *, status: str, guilds: tuple[int, ...]) -> None:
        # Nothing here speaks: that the voice libraries are missing is no news to an admin.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        # The one name by which discord.py's reconnecting finds how long to wait.
        vars(discord.client)["ExponentialBackoff"] = Backoff
        self.governor, self.knocks = Governor(), Knocks()
        self._doubt = asyncio.Event()
        trace = self.governor.trace()
        trace.on_request_end.append(self._heard)
        super().__init__(
            intents=discord.Intents(guilds=True, guild_reactions=True, dm_reactions=True),
            http_trace=trace,
            allowed_mentions=discord.AllowedMentions.none(),
            activity=activity_of(status),
            max_messages=None,
            # Nothing here waits for members, so nothing has to be waited for.
            guild_ready_timeout=0.5,
        )
        self._pace_connections()
        self._guilds_synced = guilds
        self._status = status
        self._background: list[asyncio.Task[None]] = []
        self.ready = asyncio.Event()
        self.logged_in = asyncio.Event()
        self.tree = Tree(self)
        for make in (imagine, info, show, history, help_command, about, admin):
            self.tree.add_command(make())
        for make_other in (*PEOPLE, *IDEAS):
            self.tree.add_command(make_other())
        for menu in menus():
            self.tree.add_command(menu)

    async def setup_hook(self) -> None:
        """Register what a press finds, and offer the commands."""
        await self.tree.set_translator(CommandTranslator())
        self.add_dynamic_items(Press)
        self._background = [
            asyncio.create_task(self._sync(), name="command sync"),
            asyncio.create_task(self._watch_ready(), name="ready"),
        ]
        self.logged_in.set()

    async def on_interaction(self, interaction: "Interaction") -> None:
        """Take the modals, whichever run of the bot showed them, and presses that nothing knows."""
        if not self.services.arrivals.is_first(interaction):
            return
        speak(str(interaction.locale))
        data: Any = interaction.data
        modal = interaction.type is discord.InteractionType.modal_submit
        if interaction.type is discord.InteractionType.component:
            await answer_stray(interaction)
        elif modal and data.get("custom_id") == RETYPE_ID:
            await run_retyped(interaction)
        elif modal:
            await submitted(interaction)

    async def on_connect(self) -> None:
        """Take in that Discord began a session."""
        self.knocks.welcomed()

    async def on_resumed(self) -> None:
        """Take in that Discord goes on with a session."""
        self.knocks.welcomed()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Keep sessions apart, as Discord wants them."""
        del shard_id
        await self.knocks.before_identify(initial=initial)

    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        """Take a reaction on any message, also one from before this start."""
        await reacted(self.services, event, on=True)

    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        """Take a reaction back."""
        await reacted(self.services, event, on=False)

    async def hold(self, token: str) -> None:
        """Log in and stay connected until closed; a refused first connection is tried again.

        Raises discord.LoginFailure when the token is wrong, and as soon as Discord takes it back.
        """
        tasks = [
            asyncio.create_task(self._stay(token), name="connection"),
            asyncio.create_task(self._watch_token(), name="token"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stay(self, token: str) -> None:
        pause = FIRST_PAUSE
        while not self.is_closed():
            try:
                if self.user is None:
                    await self.login(token)
                await self.connect(reconnect=True)
            except (discord.PrivilegedIntentsRequired, discord.ConnectionClosed) as error:
                raise end_of(error) from error
            except (aiohttp.ClientError, OSError, discord.DiscordServerError) as error:
                log.warning("Discord cannot be reached for now: %s", error)
                await self._forget_session()
            except AttributeError as error:
                # discord.py asks its connection for a session although the very first one was
                # refused and there is none.
                if getattr(self, "ws", None) is not None:
                    raise
                log.warning("Discord refused the first connection: %s", error.__context__)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def close(self) -> None:
        """Hang up."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await super().close()

    async def show_status(self, status: str) -> None:
        """Change what stands under the bot's name."""
        if not self.is_ready() or status == self._status:
            return
        try:
            await self.change_presence(activity=activity_of(status))
        except (discord.ConnectionClosed, discord.ClientException, OSError) as error:
            # The gateway is away for a moment; the next change comes soon enough.
            log.info("the status could not be shown: %s", error)
        else:
            self._status = status

    def _pace_connections(self) -> None:
        """Put the pauses of `bot.reconnecting` before every connection."""
        connect = self.http.ws_connect

        async def knock(url: str) -> aiohttp.ClientWebSocketResponse:
            await self.knocks.before_connect()
            return one_by_one(await connect(url))

        vars(self.http)["ws_connect"] = knock

    async def _heard(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        answer: aiohttp.TraceRequestEndParams,
    ) -> None:
        """Doubt the token when a request that carried it was answered with 401."""
        del session, context
        if answer.response.status == UNAUTHORIZED and "Authorization" in answer.headers:
            self._doubt.set()

    async def _watch_token(self) -> None:
        """Raise once Discord says again that it does not know the token; hang up first."""
        # The login itself asks about the token, and says so.
        await self.logged_in.wait()
        while True:
            await self._doubt.wait()
            try:
                await self.application_info()
            except discord.HTTPException as error:
                if error.status == UNAUTHORIZED:
                    # What is under way fails now, instead of being tried again and again.
                    await self.close()
                    raise discord.LoginFailure("Discord took the token back.") from error
            except (aiohttp.ClientError, OSError) as error:
                log.info("the token could not be looked at for now: %s", error)
            self._doubt.clear()

    async def _forget_session(self) -> None:
        """Close what a failed login left open, so that the next one starts afresh."""
        if self.user is None:
            await self.http.close()
            self.http.connector = discord.utils.MISSING

    async def _watch_ready(self) -> None:
        # Not `on_ready`: discord.py may still fire that when the client is already closed.
        await self.wait_until_ready()
        self.ready.set()

    async def _sync(self) -> None:
        """Tell Discord the commands: for the named guilds at once, else for everywhere."""
        pause = FIRST_PAUSE
        places: list[discord.Object | None] = [discord.Object(each) for each in self._guilds_synced]
        for guild in places:
            self.tree.copy_global_to(guild=guild)  # type: ignore[arg-type]
        todo = places or [None]
        while todo:
            try:
                await self.tree.sync(guild=todo[0])
            except (aiohttp.ClientError, OSError, discord.DiscordServerError) as error:
                log.warning("the commands could not be sent to Discord for now: %s", error)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            except discord.HTTPException as error:
                log.error("Discord does not take the commands for %s: %s", todo[0], error)
                todo.pop(0)
            else:
                todo.pop(0)


def one_by_one(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.ClientWebSocketResponse:
    """Let everything else have its turn between two events of the gateway.

    A burst lies in aiohttp's buffer whole, and discord.py takes it out without a pause: a thousand
    presses held up every answer, and the heartbeat, for seconds.
    """
    receive = socket.receive

    async def received(timeout: float | None = None) -> aiohttp.WSMessage:  # noqa: ASYNC109
        message = await receive(timeout)
        await asyncio.sleep(0)
        return message

    vars(socket)["receive"] = received
    return socket


def end_of(error: discord.PrivilegedIntentsRequired | discord.ConnectionClosed) -> Exception:
    """Say why the gateway is closed for good: discord.py ends at codes that no retry changes."""
    if isinstance(error, discord.ConnectionClosed) and error.code == TOKEN_REFUSED:
        return discord.LoginFailure("Discord refused the token at the gateway.")
    return Exit(f"Discord closed the connection for good: {error}")


def activity_of(status: str) -> discord.BaseActivity | None:
    """Return the line under the bot's name; an empty one is none."""
    return discord.CustomActivity(status) if status else None
