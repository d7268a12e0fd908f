"""The errors that Discord answers with: status, code, sentence, and the tree of an invalid form.

Promises the codes and the shape of the real API. Never decides whether something is wrong.
"""

from __future__ import annotations

from enum import Enum

from bot.playground.wire import Json


class ApiError(Exception):
    """A refusal that becomes an HTTP answer."""

    def __init__(self, status: int, code: int, message: str, *, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def to_json(self) -> Json:
        """Return the body of the answer."""
        body: Json = {"message": self.message, "code": self.code}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


class Refusal(Enum):
    """The refusals the playground knows, each with its status, code and sentence."""

    UNAUTHORIZED = (401, 0, "401: Unauthorized")
    UNKNOWN_APPLICATION = (404, 10002, "Unknown Application")
    UNKNOWN_CHANNEL = (404, 10003, "Unknown Channel")
    UNKNOWN_GUILD = (404, 10004, "Unknown Guild")
    UNKNOWN_MEMBER = (404, 10007, "Unknown Member")
    UNKNOWN_MESSAGE = (404, 10008, "Unknown Message")
    UNKNOWN_ROLE = (404, 10011, "Unknown Role")
    UNKNOWN_USER = (404, 10013, "Unknown User")
    UNKNOWN_EMOJI = (400, 10014, "Unknown Emoji")
    UNKNOWN_WEBHOOK = (404, 10015, "Unknown Webhook")
    UNKNOWN_INTERACTION = (404, 10062, "Unknown interaction")
    UNKNOWN_COMMAND = (404, 10063, "Unknown application command")
    TOO_MANY_REACTIONS = (400, 30010, "Maximum number of reactions reached (20)")
    TOO_MANY_OLD_EDITS = (
        429,
        30046,
        "Maximum number of edits to messages older than 1 hour reached. Try again later.",
    )
    TOO_LARGE = (413, 40005, "Request entity too large")
    ALREADY_ACKNOWLEDGED = (400, 40060, "Interaction has already been acknowledged.")
    MISSING_ACCESS = (403, 50001, "Missing Access")
    NOT_IN_DIRECT_MESSAGES = (403, 50003, "Cannot execute action on a DM channel")
    NOT_YOUR_MESSAGE = (403, 50005, "Cannot edit a message authored by another user")
    EMPTY_MESSAGE = (400, 50006, "Cannot send an empty message")
    CANNOT_SEND_TO_USER = (403, 50007, "Cannot send messages to this user")
    MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
    INVALID_TOKEN = (401, 50027, "Invalid Webhook Token")
    INVALID_JSON = (400, 50109, "The request body contains invalid JSON.")
    NO_MUTUAL_GUILDS = (
        403,
        50278,
        "Cannot send messages to this user due to having no mutual guilds",
    )

    def error(self) -> ApiError:
        """Return it as something to raise."""
        status, code, message = self.value
        return ApiError(status, code, message)


class Problems:
    """Collects what is wrong with a form, by path, and raises it all at once."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str, str]] = []

    def add(self, path: str, code: str, message: str) -> None:
        """Note one problem at a dotted path such as `components.0.components`."""
        self._found.append((path, code, message))

    def too_long(self, path: str, value: object, limit: int) -> None:
        """Note a text over its limit, if it is one."""
        if isinstance(value, str) and len(value) > limit:
            message = f"Must be {limit} or fewer in length."
            self.add(path, "BASE_TYPE_MAX_LENGTH", message)

    def too_many(self, path: str, value: object, limit: int) -> None:
        """Note a list over its limit, if it is one."""
        if isinstance(value, list) and len(value) > limit:
            message = f"Must be {limit} or fewer in length."
            self.add(path, "BASE_TYPE_MAX_LENGTH", message)

    def check(self) -> None:
        """Raise "Invalid Form Body" when anything was noted; what is wrong outside comes first."""
        if not self._found:
            return
        tree: Json = {}
        for path, code, message in sorted(self._found, key=lambda item: item[0].count(".")):
            node: Json = tree
            for part in path.split("."):
                if "_errors" in node:
                    break
                node = node.setdefault(part, {})
            else:
                node.setdefault("_errors", []).append({"code": code, "message": message})
        raise ApiError(400, 50035, "Invalid Form Body", errors=tree)
