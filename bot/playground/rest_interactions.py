"""Routes of interactions: the callback, and the webhook that an interaction's token opens.

Promises 404 after the deadline and 401 after the token's life; what happens is in `interactions`.
"""

from __future__ import annotations

from bot.playground.errors import Refusal
from bot.playground.interactions import Interactions
from bot.playground.ratelimits import Limit
from bot.playground.rendering import as_seen
from bot.playground.rest import Answer, Call, Route
from bot.playground.world import World


class InteractionRoutes:
    """Answers for `/interactions/…` and `/webhooks/…`; the token in the path is the permission."""

    def __init__(self, world: World, interactions: Interactions) -> None:
        self._world = world
        self._interactions = interactions

    def routes(self) -> list[Route]:
        """Return the routes; none counts towards the global limit."""
        callback = "/interactions/{interaction_id}/{interaction_token}/callback"
        webhook = "/webhooks/{webhook_id}/{webhook_token}"
        message = f"{webhook}/messages/{{message_id}}"
        original = f"{webhook}/messages/@original"
        table = [
            ("POST", callback, self.respond, None),
            ("POST", webhook, self.follow_up, "followup"),
            ("GET", original, self.get, "get followup"),
            ("PATCH", original, self.edit, "edit followup"),
            ("DELETE", original, self.delete, "delete followup"),
            ("GET", message, self.get, "get followup"),
            ("PATCH", message, self.edit, "edit followup"),
            ("DELETE", message, self.delete, "delete followup"),
        ]
        return [
            Route(
                method=method,
                template=template,
                handler=handler,
                limit=Limit(name=limit, requests=5, window=2.0) if limit else None,
                needs_token=False,
                counts_globally=False,
            )
            for method, template, handler, limit in table
        ]

    async def respond(self, call: Call) -> Answer:
        """Take the callback of an interaction."""
        interaction_id = call.number("interaction_id")
        token = call.params["interaction_token"]
        interaction = await self._interactions.respond(
            interaction_id, token, call.form(), call.files
        )
        if not call.flag("with_response"):
            return Answer()
        return Answer(self._interactions.callback_json(interaction))

    async def follow_up(self, call: Call) -> Answer:
        """Post a followup."""
        token = self._token(call)
        record = await self._interactions.follow_up(token, call.form(), call.files)
        return Answer(as_seen(record.data))

    async def get(self, call: Call) -> Answer:
        """Get the original or a followup."""
        record = self._interactions.message(self._token(call), which(call))
        return Answer(as_seen(record.data))

    async def edit(self, call: Call) -> Answer:
        """Edit the original or a followup."""
        token = self._token(call)
        record = await self._interactions.edit(token, which(call), call.form(), call.files)
        return Answer(as_seen(record.data))

    async def delete(self, call: Call) -> Answer:
        """Delete the original or a followup."""
        self._interactions.delete(self._token(call), which(call))
        return Answer()

    def _token(self, call: Call) -> str:
        if call.number("webhook_id") != self._world.application_id:
            raise Refusal.UNKNOWN_WEBHOOK.error()
        return call.params["webhook_token"]


def which(call: Call) -> str:
    """Return the message's id in the path, or `@original`."""
    return call.params.get("message_id", "@original")
