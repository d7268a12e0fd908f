"""Who lives in the playground: people, the bot, roles, and faces drawn for them.

Promises Discord's own JSON for users and roles, and avatars that need no network.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from bot.playground.permissions import Permission
from bot.playground.wire import Json

FACE_SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with an account; `bot` marks the bot's own."""

    id: int
    name: str
    display_name: str
    colour: tuple[int, int, int]
    roles: tuple[int, ...] = ()
    bot: bool = False

    @property
    def avatar(self) -> str:
        """Return the hash under which the CDN serves the face."""
        return hashlib.sha256(f"{self.name}{self.colour}".encode()).hexdigest()[:32]

    def to_json(self) -> Json:
        """Return Discord's user object."""
        return {
            "id": str(self.id),
            "username": self.name,
            "discriminator": "0",
            "global_name": None if self.bot else self.display_name,
            "avatar": self.avatar,
            "banner": None,
            "accent_color": None,
            "avatar_decoration_data": None,
            "collectibles": None,
            "primary_guild": None,
            "public_flags": 0,
            "flags": 0,
            "bot": self.bot,
            "system": False,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of the guild."""

    id: int
    name: str
    permissions: Permission
    position: int
    colour: int = 0
    bot_id: int | None = None

    def to_json(self) -> Json:
        """Return Discord's role object."""
        role: Json = {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(int(self.permissions)),
            "position": self.position,
            "color": self.colour,
            "colors": {
                "primary_color": self.colour,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": False,
            "managed": self.bot_id is not None,
            "mentionable": False,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }
        if self.bot_id is not None:
            role["tags"] = {"bot_id": str(self.bot_id)}
        return role


def draw_face(person: Person) -> bytes:
    """Draw an avatar: the first letter on the person's colour, as PNG."""
    red, green, blue = person.colour
    picture = Image.new("RGB", (FACE_SIZE, FACE_SIZE), person.colour)
    pen = ImageDraw.Draw(picture)
    shade = (red * 4 // 5, green * 4 // 5, blue * 4 // 5)
    pen.ellipse((-40, 60, FACE_SIZE + 40, FACE_SIZE + 140), fill=shade)
    font = ImageFont.load_default(size=72)
    centre = (FACE_SIZE / 2, FACE_SIZE / 2)
    pen.text(centre, person.display_name[0].upper(), fill="white", font=font, anchor="mm")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
