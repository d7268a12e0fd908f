"""Who lives in the playground: people, the bot, and faces drawn for them.

Promises Discord's own JSON for users, and avatars that need no network. What somebody is in a
guild is the guild's to know.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from bot.playground.wire import Json

FACE_SIZE = 128


@dataclass(slots=True, kw_only=True, eq=False)
class Person:
    """Somebody with an account; `bot` marks the bot's own, `locale` is their client's language."""

    id: int
    name: str
    display_name: str
    colour: tuple[int, int, int]
    bot: bool = False
    locale: str = "en-US"

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
