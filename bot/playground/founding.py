"""How a playground begins: its people, its guilds, their roles and channels.

Promises the same small company every time: alice, bob, carol, and the bot. Never looks at what
happens afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.playground.guilds import DM_CHANNEL, TEXT_CHANNEL, Channel, Guild, Member, Role
from bot.playground.people import Person
from bot.playground.permissions import Overwrite, Permission, ordinary
from bot.playground.wire import Snowflakes

BOT_ROLE, MODERATORS, PATRONS = "Easel", "Moderators", "Patrons"
LOOKS = {"alice": (214, 84, 106), "bob": (58, 142, 132), "carol": (224, 160, 64)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a guild looks like at first: topics by channel name, and who has which roles."""

    name: str
    owner: str
    topics: Mapping[str, str]
    members: Mapping[str, tuple[str, ...]]
    age_restricted: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()


PLANS: Sequence[Plan] = (
    Plan(
        name="Easel playground",
        owner="carol",
        topics={
            "easel": "Type /imagine and watch four pictures appear",
            "gallery": "The ones worth keeping",
            "after-dark": "For adults: an age-restricted channel",
            "notices": "The bot may read here, not post",
        },
        members={"alice": (), "bob": (PATRONS,), "carol": (MODERATORS,)},
        age_restricted=("after-dark",),
        read_only=("notices",),
    ),
    Plan(
        name="Another studio",
        owner="alice",
        topics={"lounge": "Next door"},
        members={"alice": (MODERATORS,), "bob": ()},
    ),
)


def make_people(ids: Snowflakes) -> dict[str, Person]:
    """Make the people, by name."""
    return {
        name: Person(id=ids.next(), name=name, display_name=name.capitalize(), colour=colour)
        for name, colour in LOOKS.items()
    }


def make_guild(
    plan: Plan, guild_id: int, ids: Snowflakes, people: Mapping[str, Person], bot: Person
) -> Guild:
    """Make a guild with its roles and members, without channels yet."""
    now = ids.now()
    roles = make_roles(guild_id, ids, bot.id)
    by_name = {role.name: role.id for role in roles}
    members = {
        people[name].id: Member(
            person=people[name], joined_at=now, roles=[by_name[role] for role in held]
        )
        for name, held in plan.members.items()
    }
    members[bot.id] = Member(person=bot, joined_at=now, roles=[by_name[BOT_ROLE]])
    return Guild(
        id=guild_id,
        name=plan.name,
        owner=people[plan.owner],
        created_at=now,
        roles={role.id: role for role in roles},
        members=members,
    )


def make_roles(guild_id: int, ids: Snowflakes, bot_id: int) -> list[Role]:
    """Make the roles that every guild has at first."""
    moderate = Permission.MANAGE_GUILD | Permission.MANAGE_MESSAGES | Permission.MANAGE_CHANNELS
    least = ordinary() & ~Permission.USE_APPLICATION_COMMANDS
    return [
        Role(id=guild_id, name="@everyone", permissions=ordinary(), position=0),
        Role(id=ids.next(), name=BOT_ROLE, permissions=least, position=1, bot_id=bot_id),
        Role(id=ids.next(), name=MODERATORS, permissions=moderate, position=3, colour=0xE0A040),
        Role(id=ids.next(), name=PATRONS, permissions=Permission(0), position=2, colour=0x3A8E84),
    ]


def make_channels(plan: Plan, guild: Guild, ids: Snowflakes) -> list[Channel]:
    """Make a guild's channels and tell the guild their ids."""
    channels: list[Channel] = []
    bots = guild.role(BOT_ROLE)
    for position, (name, topic) in enumerate(plan.topics.items()):
        channel = Channel(
            id=ids.next(),
            type=TEXT_CHANNEL,
            name=name,
            guild=guild,
            position=position,
            topic=topic,
            nsfw=name in plan.age_restricted,
        )
        if name in plan.read_only:
            channel.overwrites[bots.id] = Overwrite(
                target_id=bots.id, kind=0, allow=Permission(0), deny=Permission.SEND_MESSAGES
            )
        guild.channels[name] = channel.id
        channels.append(channel)
    return channels


def make_direct(person: Person, ids: Snowflakes) -> Channel:
    """Make the channel between a person and the bot."""
    return Channel(id=ids.next(), type=DM_CHANNEL, name=person.name, recipient=person)
