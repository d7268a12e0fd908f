"""Syncing application commands: ids that stay, limits, scopes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.playground import PlayError, Playground, RateLimits
from bot.playground.wire import Json
from tests.test_bot_playground_support import Rest, rest_of


@pytest.fixture
async def rest() -> AsyncIterator[Rest]:
    async with rest_of(Playground(rate_limits=RateLimits(enabled=False))) as client:
        yield client


def everywhere(rest: Rest) -> str:
    return f"/applications/{rest.pg.application_id}/commands"


def option(name: str, *, required: bool = False) -> Json:
    return {"name": name, "description": "d", "type": 3, "required": required}


def command(name: str, *options: Json) -> Json:
    return {"name": name, "description": "d", "type": 1, "options": list(options)}


async def test_an_overwrite_keeps_the_ids_of_names_that_stay(rest: Rest) -> None:
    first = await rest("PUT", everywhere(rest), [command("a"), command("b")])
    second = await rest("PUT", everywhere(rest), [command("b"), command("c")])
    assert second.body[0]["id"] == first.body[1]["id"]
    assert second.body[0]["version"] != first.body[1]["version"]
    listed = await rest("GET", everywhere(rest))
    assert [item["name"] for item in listed.body] == ["b", "c"]


async def test_one_command_can_be_added_read_and_deleted(rest: Rest) -> None:
    made = await rest("POST", everywhere(rest), command("a"))
    again = await rest("POST", everywhere(rest), command("a"))
    assert (made.status, again.status) == (201, 200)
    assert made.body["id"] == again.body["id"]
    path = f"{everywhere(rest)}/{made.body['id']}"
    assert (await rest("GET", path)).body["name"] == "a"
    assert (await rest("DELETE", path)).status == 204
    assert (await rest("GET", path)).code == 10063


async def test_the_guild_has_its_own(rest: Rest) -> None:
    of_guild = f"/applications/{rest.pg.application_id}/guilds/{rest.pg.guild_id}/commands"
    made = await rest("PUT", of_guild, [command("here")])
    assert made.body[0]["guild_id"] == str(rest.pg.guild_id)
    assert (await rest("GET", everywhere(rest))).body == []
    ix = await rest.pg.slash("alice", "here")
    assert ix.payload["data"]["guild_id"] == str(rest.pg.guild_id)
    wrong = f"/applications/{rest.pg.application_id}/guilds/1/commands"
    assert (await rest("GET", wrong)).code == 50001
    assert (await rest("GET", "/applications/1/commands")).code == 10002


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([command("Upper")], "APPLICATION_COMMAND_INVALID_NAME"),
        ([command("two words")], "APPLICATION_COMMAND_INVALID_NAME"),
        ([command("n" * 33)], "APPLICATION_COMMAND_INVALID_NAME"),
        ([command("a"), command("a")], "APPLICATION_COMMANDS_DUPLICATE_NAME"),
        ([{"name": "a", "description": "d" * 101}], "BASE_TYPE_BAD_LENGTH"),
        ([command("a", *(option(f"o{n}") for n in range(26)))], "BASE_TYPE_MAX_LENGTH"),
        (
            [command("a", option("x"), option("x"))],
            "APPLICATION_COMMAND_OPTIONS_NAME_DUPLICATE",
        ),
        (
            [command("a", option("x"), option("y", required=True))],
            "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
        ),
        (
            [
                command(
                    "a",
                    option("x") | {"choices": [{"name": "n", "value": "v"}], "autocomplete": True},
                )
            ],
            "APPLICATION_COMMAND_OPTIONS_CHOICES_AUTOCOMPLETE",
        ),
        ([command(f"c{n}") for n in range(101)], "APPLICATION_COMMAND_TOO_MANY"),
        ([{"name": "m" * 33, "type": 3}], "BASE_TYPE_BAD_LENGTH"),
    ],
)
async def test_limits(rest: Rest, listed: list[Json], code: str) -> None:
    reply = await rest("PUT", everywhere(rest), listed)
    assert (reply.status, reply.code) == (400, 50035)
    assert f"'{code}'" in str(reply.body["errors"])
    assert rest.pg.world.commands == {}


async def test_people_get_only_what_was_synced_and_fits(rest: Rest) -> None:
    number = {
        "name": "n",
        "description": "d",
        "type": 4,
        "min_value": 1,
        "max_value": 3,
    }
    await rest("PUT", everywhere(rest), [command("a", option("x", required=True), number)])
    with pytest.raises(PlayError, match="'x' is required"):
        await rest.pg.slash("alice", "a", {"n": 1})
    with pytest.raises(PlayError, match="n must be at most 3"):
        await rest.pg.slash("alice", "a", {"x": "y", "n": 4})
    with pytest.raises(PlayError, match="n is a whole number"):
        await rest.pg.slash("alice", "a", {"x": "y", "n": 1.5})
    with pytest.raises(PlayError, match="no option 'z'"):
        await rest.pg.slash("alice", "a", {"x": "y", "z": 1})
    with pytest.raises(PlayError, match="1 to 6000 characters"):
        await rest.pg.slash("alice", "a", {"x": "y" * 6001})
    with pytest.raises(PlayError, match="does not complete"):
        await rest.pg.autocomplete("alice", "a", {}, "x")
    assert rest.pg.ledger.interactions == {}


JAPANESE: Json = {
    "name": "imagine",
    "name_localizations": {"ja": "想像", "de": "vorstellen"},
    "description": "Paint what you describe",
    "description_localizations": {"ja": "説明した絵を描きます"},
    "type": 1,
    "options": [
        {
            "name": "style",
            "name_localizations": {"ja": "スタイル"},
            "description": "How",
            "description_localizations": {"ja": "描き方"},
            "type": 3,
            "choices": [
                {"name": "Ink", "name_localizations": {"ja": "墨絵 (モノクロ)"}, "value": "ink"}
            ],
        }
    ],
}


async def test_translations_are_kept_and_shown_to_who_asks(rest: Rest) -> None:
    made = await rest("PUT", everywhere(rest), [JAPANESE])
    assert made.body[0]["name_localizations"]["ja"] == "想像"
    whole = await rest("GET", f"{everywhere(rest)}?with_localizations=true")
    option = whole.body[0]["options"][0]
    assert option["name_localizations"] == {"ja": "スタイル"}
    assert option["choices"][0]["name_localizations"]["ja"].startswith("墨絵")
    bare = await rest("GET", everywhere(rest))
    assert "localizations" not in str(bare.body)
    ix = await rest.pg.slash("alice", "imagine", {"style": "ink"})
    assert ix.payload["data"]["name"] == "imagine"


def changed(**changes: object) -> Json:
    return JAPANESE | changes


def with_option(**changes: object) -> Json:
    return JAPANESE | {"options": [JAPANESE["options"][0] | changes]}


@pytest.mark.parametrize(
    ("listed", "path", "code"),
    [
        (
            [changed(name_localizations={"ja": "想像 する"})],
            "0.name_localizations.ja",
            "APPLICATION_COMMAND_INVALID_NAME",
        ),
        (
            [changed(name_localizations={"ja": "イメージ・生成"})],
            "0.name_localizations.ja",
            "APPLICATION_COMMAND_INVALID_NAME",
        ),
        (
            # A mark on its own, as file systems write voiced kana: it looks right and is refused.
            [changed(name_localizations={"ja": "か\u3099"})],
            "0.name_localizations.ja",
            "APPLICATION_COMMAND_INVALID_NAME",
        ),
        (
            [changed(name_localizations={"fr": "Imaginer"})],
            "0.name_localizations.fr",
            "APPLICATION_COMMAND_INVALID_NAME",
        ),
        (
            [changed(name_localizations={"jp": "想像"})],
            "0.name_localizations.jp",
            "ENUM_TYPE_COERCE",
        ),
        (
            [changed(description_localizations={"ja": "絵" * 101})],
            "0.description_localizations.ja",
            "BASE_TYPE_BAD_LENGTH",
        ),
        (
            [with_option(name_localizations={"ja": "ス!"})],
            "0.options.0.name_localizations.ja",
            "APPLICATION_COMMAND_INVALID_NAME",
        ),
        (
            [
                with_option(
                    choices=[{"name": "a", "value": "a", "name_localizations": {"ja": "あ" * 101}}]
                )
            ],
            "0.options.0.choices.0.name_localizations.ja",
            "BASE_TYPE_BAD_LENGTH",
        ),
        (
            [with_option(choices=[{"name": "a", "value": 1}])],
            "0.options.0.choices.0.value",
            "BASE_TYPE_COERCE",
        ),
        (
            [JAPANESE, changed(name="other")],
            "1",
            "APPLICATION_COMMANDS_DUPLICATE_NAME",
        ),
        (
            [{"name": "Info", "type": 3, "description": "d"}],
            "0.description",
            "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION",
        ),
        (
            [
                command(
                    "huge",
                    *(
                        option(f"o{n}")
                        | {
                            "choices": [
                                {"name": f"{k:0100}", "value": f"{k:0100}"} for k in range(5)
                            ]
                        }
                        for n in range(9)
                    ),
                )
            ],
            "0",
            "APPLICATION_COMMAND_TOO_LARGE",
        ),
    ],
)
async def test_translations_are_held_to_the_same_rules(
    rest: Rest, listed: list[Json], path: str, code: str
) -> None:
    reply = await rest("PUT", everywhere(rest), listed)
    assert (reply.status, reply.code) == (400, 50035)
    node = reply.body["errors"]
    for part in path.split("."):
        node = node[part]
    assert [error["code"] for error in node["_errors"]] == [code]
    assert rest.pg.world.commands == {}


@pytest.mark.parametrize(
    "name", ["想像", "ブレンド", "イメージ_2", "スタイル-一覧", "हिन्दी", "ภาษาไทย"]
)
async def test_names_of_every_script_pass(rest: Rest, name: str) -> None:
    made = await rest("PUT", everywhere(rest), [changed(name_localizations={"ja": name})])
    assert made.status == 200


async def test_menus_are_translated_more_freely(rest: Rest) -> None:
    menu = {"name": "Info", "type": 3, "name_localizations": {"ja": "詳細 を見る!"}}
    assert (await rest("PUT", everywhere(rest), [menu])).status == 200
    said = await rest.pg.say("bob", "x")
    ix = await rest.pg.menu("alice", said.id, "Info")
    assert ix.payload["data"]["target_id"] == str(said.id)
