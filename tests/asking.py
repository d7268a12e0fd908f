"""What tests of commands share: use one and read what it says, press, choose, attach a file."""

from bot.playground import InteractionState, Json, MessageRecord, PlayInteraction
from tests.bot_room import Room


async def begin(room: Room, who: str, command: str, **options: object) -> PlayInteraction:
    """Use a command in the usual channel."""
    ix = await room.pg.slash(who, command, options)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return ix


async def use(room: Room, who: str, command: str, **options: object) -> MessageRecord:
    """Use a command and return what it says to its user."""
    ix = await begin(room, who, command, **options)
    return await room.shown(ix, lambda found: not found.loading)


async def use_at(
    room: Room, who: str, channel_id: int, command: str, **options: object
) -> MessageRecord:
    """Use a command in another channel, such as somebody's direct messages."""
    ix = await room.pg.slash(who, command, options, channel_id=channel_id)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return await room.shown(ix, lambda found: not found.loading)


async def press(
    room: Room, who: str, message: MessageRecord, start: str, *, choose: str | None = None
) -> PlayInteraction:
    """Press the one button, or choose in the one menu, whose custom_id begins so."""
    custom_id = next(each for each in message.custom_ids if each.startswith(start))
    values = None if choose is None else [choose]
    ix = await room.pg.press(who, message.id, custom_id, values=values)
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return ix


async def attach(room: Room, who: str, data: bytes, name: str = "picture.png") -> str:
    """Upload a file; the result is the value of an attachment option."""
    upload: Json = await room.pg.upload(who, name, data)
    return str(upload["id"])


def answer(room: Room, ix: PlayInteraction) -> MessageRecord:
    """Return the message that answered a press."""
    assert ix.message_id is not None
    return room.pg.ledger.messages[ix.message_id]


def entries(message: MessageRecord, start: str) -> list[str]:
    """Return the values that a menu offers."""
    menu = next(each for each in message.components if each.get("custom_id", "").startswith(start))
    return [str(option["value"]) for option in menu["options"]]


def label(message: MessageRecord, start: str) -> str:
    """Return what stands on a button."""
    button = next(
        each for each in message.components if each.get("custom_id", "").startswith(start)
    )
    return str(button["label"])
