"""What a message looks like: Discord's own JSON from what somebody asked to be sent.

Promises the fields the API always gives, files that embeds use taken off the list, and pings only
where `allowed_mentions` permits. Never stores anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bot.playground.cdn import Upload
from bot.playground.components import as_given_back
from bot.playground.guilds import Channel
from bot.playground.ledger import (
    EPHEMERAL,
    LOADING,
    SUPPRESS_EMBEDS,
    MessageRecord,
    PlayInteraction,
)
from bot.playground.people import Person
from bot.playground.permissions import Permission
from bot.playground.wire import Json, iso
from bot.playground.world import World

REPLY = 19
COMMAND_RESPONSE = 20
CONTEXT_RESPONSE = 23
EMBED_PICTURES = ("image", "thumbnail")
MEDIA_KEYS = ("url", "proxy_url", "width", "height", "content_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message about to be made."""

    channel: Channel
    author: Person
    payload: Json
    files: Sequence[Upload] = ()
    interaction: PlayInteraction | None = None
    ephemeral: bool = False
    loading: bool = False


class Renderer:
    """Builds the JSON of messages."""

    def __init__(self, world: World) -> None:
        self._world = world

    def skeleton(self, draft: Draft) -> Json:
        flags = (EPHEMERAL if draft.ephemeral else 0) | (LOADING if draft.loading else 0)
        data: Json = {
            "id": str(self._world.ids.next()),
            "channel_id": str(draft.channel.id),
            "author": draft.author.to_json(),
            "type": 0,
            "content": "",
            "mentions": [],
            "mention_roles": [],
            "mention_everyone": False,
            "attachments": [],
            "embeds": [],
            "components": [],
            "timestamp": iso(self._world.clock.now()),
            "edited_timestamp": None,
            "flags": flags,
            "pinned": False,
            "tts": False,
        }
        if draft.interaction is not None:
            data |= self._origin(draft.interaction)
        return data

    def _origin(self, interaction: PlayInteraction) -> Json:
        application_id = str(self._world.application_id)
        user = self._world.person(interaction.user_id).to_json()
        metadata: Json = {
            "id": str(interaction.id),
            "type": interaction.type,
            "user": user,
            "authorizing_integration_owners": interaction.payload["authorizing_integration_owners"],
        }
        origin: Json = {"application_id": application_id, "webhook_id": application_id}
        if interaction.type == 2:
            used = interaction.payload["data"]
            name = used["name"]
            origin["interaction"] = {
                "id": str(interaction.id),
                "type": 2,
                "name": name,
                "user": user,
            }
            origin["type"] = COMMAND_RESPONSE if used["type"] == 1 else CONTEXT_RESPONSE
            if "target_id" in used:
                metadata |= self._target(used)
        elif interaction.type == 3:
            metadata["interacted_message_id"] = str(interaction.source_message_id)
        elif interaction.type == 5:
            source = interaction.source_message_id
            came_from: Json = {"type": 2}
            if source is not None:
                came_from = {"type": 3, "interacted_message_id": str(source)}
            metadata["triggering_interaction_metadata"] = metadata | came_from
        if interaction.message_id is not None:
            metadata["original_response_message_id"] = str(interaction.message_id)
        return origin | {"interaction_metadata": metadata}

    def _target(self, used: Json) -> Json:
        """Return what a command of a menu was used on."""
        if used["type"] == 3:
            return {"target_message_id": used["target_id"]}
        return {"target_user": self._world.person(int(used["target_id"])).to_json()}

    def refer(self, data: Json, reference: MessageRecord) -> None:
        data["type"] = REPLY
        place: Json = {
            "type": 0,
            "channel_id": str(reference.channel_id),
            "message_id": str(reference.id),
        }
        guild = self._world.channel(reference.channel_id).guild
        data["message_reference"] = place | ({} if guild is None else {"guild_id": str(guild.id)})
        quoted = as_seen(reference.data)
        data["referenced_message"] = {
            key: value for key, value in quoted.items() if key != "referenced_message"
        }

    def fill(self, data: Json, payload: Json, files: list[Json]) -> None:
        """Put what the payload names into the message; files used by embeds are not listed."""
        media = self._media(files)
        if "content" in payload:
            data["content"] = payload["content"] or ""
        if "tts" in payload:
            data["tts"] = bool(payload["tts"])
        if "components" in payload:
            data["components"] = as_given_back(payload["components"] or [], media)
        if "embeds" in payload:
            data["embeds"] = [shown_embed(item, media) for item in payload["embeds"] or []]
        pictures = [item.get(key) or {} for item in data["embeds"] for key in EMBED_PICTURES]
        used = {picture.get("attachment_id") for picture in pictures}
        data["attachments"] = [item for item in files if item["id"] not in used]

    def _media(self, files: list[Json]) -> Callable[[str], Json]:
        """Return what finds the file behind `attachment://name`, or describes another address."""
        by_name = {f"attachment://{item['filename']}": item for item in files}

        def media(url: str) -> Json:
            item = by_name.get(url)
            if item is None:
                return {"id": str(self._world.ids.next()), "url": url, "proxy_url": url}
            found: Json = {key: item[key] for key in MEDIA_KEYS if key in item}
            return found | {"id": item["id"], "attachment_id": item["id"]}

        return media

    def mention(self, data: Json, payload: Json, reference: MessageRecord | None) -> None:
        """Find out who is pinged: what the text names and `allowed_mentions` permits."""
        allowed = payload.get("allowed_mentions")
        everything: dict[str, Any] = {"parse": ["users", "roles", "everyone"], "replied_user": True}
        rules = everything if allowed is None else allowed
        parse = rules.get("parse") or []
        named = {int(found) for found in re.findall(r"<@!?(\d+)>", data["content"])}
        if "users" not in parse:
            named &= {int(item) for item in rules.get("users") or []}
        if reference is not None and rules.get("replied_user"):
            named.add(reference.author_id)
        accounts = [person for person in self._world.accounts if person.id in named]
        data["mentions"] = [person.to_json() for person in accounts]
        author = self._world.person(int(data["author"]["id"]))
        channel = self._world.channel(int(data["channel_id"]))
        may = Permission.MENTION_EVERYONE in self._world.permissions(author, channel)
        shouts = bool(re.search(r"@(everyone|here)\b", data["content"]))
        data["mention_everyone"] = shouts and may and "everyone" in parse


def shown_embed(embed: Json, media: Callable[[str], Json]) -> Json:
    """Return an embed as the API gives it back."""
    shown: Json = {"type": "rich"}
    shown |= {key: value for key, value in embed.items() if value is not None}
    for key in EMBED_PICTURES:
        if key in shown:
            picture = media(shown[key]["url"])
            shown[key] = {name: picture[name] for name in picture if name != "id"}
    return shown


def reaction_json(emoji: Json, users: list[int], me: int) -> Json:
    """Return Discord's reaction object, with who reacted under `users` (never sent)."""
    return {
        "emoji": emoji,
        "count": len(users),
        "count_details": {"burst": 0, "normal": len(users)},
        "burst_colors": [],
        "me_burst": False,
        "me": me in users,
        "users": [str(user_id) for user_id in users],
    }


def as_seen(data: Json) -> Json:
    """Return a message as the API shows it: without what the playground keeps for itself."""
    shown = dict(data)
    if "reactions" in shown:
        shown["reactions"] = [
            {key: value for key, value in item.items() if key != "users"}
            for item in shown["reactions"]
        ]
        if not shown["reactions"]:
            del shown["reactions"]
    # Suppressed embeds are kept, for the flag may go again, but nobody is told of them.
    hidden = shown["flags"] & SUPPRESS_EMBEDS
    shown["embeds"] = [] if hidden else [seen_embed(embed) for embed in shown["embeds"]]
    return shown


def as_seen_by(data: Json, user_id: int) -> Json:
    """Return a message as somebody's own client shows it: `me` is theirs, not the bot's."""
    shown = as_seen(data)
    for item, whole in zip(shown.get("reactions", []), data.get("reactions", []), strict=False):
        item["me"] = str(user_id) in whole["users"]
    return shown


def seen_embed(embed: Json) -> Json:
    """Return an embed without the playground's own link from its pictures to their files."""
    shown = dict(embed)
    for key in EMBED_PICTURES:
        if key in shown:
            shown[key] = {name: shown[key][name] for name in shown[key] if name != "attachment_id"}
    return shown
