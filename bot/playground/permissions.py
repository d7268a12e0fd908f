"""Who may do what in a channel: the permission bits the playground honours.

Promises Discord's order: roles, then the overwrites of everyone, of roles, of the member.
Never grants what no role grants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag


class Permission(IntFlag):
    """The bits of Discord's permission sets that matter here."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    USE_APPLICATION_COMMANDS = 1 << 31


def everything() -> Permission:
    """Return every permission."""
    return Permission(sum(permission.value for permission in Permission))


def ordinary() -> Permission:
    """Return what everybody in the guild may do."""
    return (
        Permission.ADD_REACTIONS
        | Permission.VIEW_CHANNEL
        | Permission.SEND_MESSAGES
        | Permission.EMBED_LINKS
        | Permission.ATTACH_FILES
        | Permission.READ_MESSAGE_HISTORY
        | Permission.USE_APPLICATION_COMMANDS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite:
    """A channel's exception for a role (kind 0) or a member (kind 1)."""

    target_id: int
    kind: int
    allow: Permission
    deny: Permission


def combine(
    base: Permission, overwrites: Iterable[Overwrite], *, guild_id: int, roles: set[int], user: int
) -> Permission:
    """Apply a channel's overwrites to what the roles grant."""
    if Permission.ADMINISTRATOR in base:
        return everything()
    found = list(overwrites)
    everyone = [item for item in found if item.target_id == guild_id]
    of_roles = [item for item in found if item.kind == 0 and item.target_id in roles - {guild_id}]
    of_member = [item for item in found if item.kind == 1 and item.target_id == user]
    result = base
    for layer in (everyone, of_roles, of_member):
        for item in layer:
            result &= ~item.deny
        for item in layer:
            result |= item.allow
    return result
