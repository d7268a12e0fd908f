"""The running bot as its machine sees it: no socket that listens, no module from elsewhere, and the
token in no file that it writes and in no word that it says.
"""

import ast
import asyncio
import json
import logging
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import diffusion
import diffusion.adapters
from bot.playground import InteractionState, Playground, PlayInteraction, RateLimits
from bot.secrets import REDACTED
from tests.chaos.bots import SETTINGS, bot, start, stopped
from tests.fakes import FakeEngine
from tests.test_bot_cli import easel
from tests.test_bot_secrets import CANARY

ROOT = Path(__file__).parent.parent
LISTENING, UNCONNECTED = "0A", "07"
DEBUG = SETTINGS + '[monitoring]\nlog_level = "debug"\nlog_format = "json"\n'


def sockets(pid: int) -> list[tuple[str, str, int]]:
    """Return the sockets of a process that strangers could reach: kind, address in hex, port."""
    links = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        # The list itself may be open in it, and gone by now.
        with suppress(FileNotFoundError):
            links.append(str(each.readlink()))
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for kind, state in (
        ("tcp", LISTENING),
        ("tcp6", LISTENING),
        ("udp", UNCONNECTED),
        ("udp6", UNCONNECTED),
    ):
        table = Path(f"/proc/{pid}/net/{kind}").read_text(encoding="ascii").splitlines()[1:]
        for line in table:
            fields = line.split()
            if fields[9] in own and fields[3] == state:
                address, port = fields[1].split(":")
                found.append((kind, address, int(port, 16)))
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    """Read every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def acknowledged(ix: PlayInteraction) -> PlayInteraction:
    assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
    return ix


async def test_nothing_listens(tmp_path: Path) -> None:
    async with (
        Playground(rate_limits=RateLimits(enabled=False)) as pg,
        bot(pg, tmp_path) as process,
    ):
        await acknowledged(await pg.slash("alice", "imagine", {"prompt": "a fox"}))
        assert sockets(process.pid) == []
        assert sockets(os.getpid()), "the playground listens: else nothing was looked at"


def leak(engine: FakeEngine, wishes: dict[str, Any]) -> None:
    """Let the child be careless with its token, by every way into logs and exceptions.

    Called in the child, before the bot starts.
    """
    token = os.environ["DISCORD_TOKEN"]
    submit = engine.submit

    def careless(params: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever is given
        log = logging.getLogger("discord.http")
        log.debug("headers %r", {"Authorization": f"Bot {token}"}, extra={"token": token})
        log.debug("token\r\n%s", token, stack_info=True)
        log.error(f"{token} %d", token)
        if "boom" in params.prompt:
            raise RuntimeError(f"refused {token}") from ValueError(token)
        return submit(params, **more)

    engine.submit = careless  # type: ignore[method-assign]
    modules = Path(wishes["modules"])

    def note(*_: object) -> None:
        table = {name: getattr(each, "__file__", None) for name, each in list(sys.modules.items())}
        modules.write_text(json.dumps(table), encoding="utf-8")

    import atexit

    atexit.register(note)


async def test_the_token_is_in_no_file_and_no_module_comes_from_elsewhere(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    data = tmp_path / "data"
    modules = tmp_path / "modules.json"
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        admins = f"[moderation]\nadmins = [{pg.people['carol'].id}]\n"
        async with bot(
            pg,
            tmp_path,
            config=f"{DEBUG}port = {unused_tcp_port}\n{admins}",
            prepare="tests.test_security_process:leak",
            modules=str(modules),
        ) as process:
            # What the admin switched on listens, on the loopback alone.
            assert sockets(process.pid) == [("tcp", "0100007F", unused_tcp_port)]
            # What an attacker could have put where the bot writes.
            for place in (data, data / "bot", tmp_path):
                place.mkdir(exist_ok=True)
                for name in ("sitecustomize.py", "storage.py", "spandrel.py", "__init__.py"):
                    (place / name).write_text("raise SystemExit('run from data')")
            for prompt in ("a fox", "boom", "{0.__class__} %s %d\r\nX"):
                ix = await acknowledged(await pg.slash("alice", "imagine", {"prompt": prompt}))
            pg.faults.status(500, "POST", "/channels/*/messages", count=2)
            await acknowledged(await pg.slash("alice", "history"))
            await pg.wait(lambda ledger: "boom" not in ledger.messages[ix.message_id or 0].content)
            (tmp_path / "config.toml").write_text(f'[discord]\nstatus = "{pg.token}"\n')
            direct = pg.direct_messages("carol")
            await pg.wait(
                lambda ledger: any("not applied" in m.content for m in ledger.in_channel(direct)),
                timeout=15,
            )
            await stopped(process)
        token = pg.token
        said = json.dumps([each.data for each in pg.ledger.messages.values()])
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert log.count(REDACTED) > 10
    assert "Traceback" in log
    for line in log.splitlines():
        if line.startswith("{"):
            json.loads(line)
    secret = token.split(".")[2]
    assert secret not in said
    written = await asyncio.to_thread(contents, tmp_path)
    assert any(content.startswith(b"SQLite format 3") for content in written.values())
    # The one that the test wrote there itself.
    del written[tmp_path / "config.toml"]
    assert not [path for path, content in written.items() if secret.encode() in content]
    roots = [str(each) for each in (ROOT, Path(sys.prefix), Path(sys.base_prefix))]
    files = [each for each in json.loads(modules.read_text(encoding="utf-8")).values() if each]
    assert len(files) > 200
    strangers = [each for each in files if not any(each.startswith(root) for root in roots)]
    assert not strangers
    assert not [each for each in files if str(tmp_path) in each]


async def test_a_start_with_a_token_in_its_settings_is_refused(tmp_path: Path) -> None:
    async with Playground() as pg:
        process = await start(pg, tmp_path, config=f'[discord]\nstatus = "x {pg.token} y"\n')
        assert await asyncio.wait_for(process.wait(), 40) == 78
        assert not pg.ledger.requests
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert "shaped like a Discord token" in log
    assert "Traceback" not in log
    assert pg.token.split(".")[2] not in log


@pytest.mark.parametrize("place", ['[discord]\nstatus = "{}"', "# {}", '[models."{}"]\npath = "x"'])
def test_a_token_is_found_wherever_it_hides_in_the_settings(place: str, tmp_path: Path) -> None:
    for token in (CANARY, CANARY.replace(".", "\\u002E")):
        if "\\" in token and place.startswith("#"):
            continue
        path = tmp_path / "config.toml"
        path.write_text(place.format(token), encoding="utf-8")
        ended = easel("run", "--config", str(path), token=CANARY)
        assert ended.code == 78
        assert "shaped like a Discord token" in ended.err
        assert CANARY.split(".")[2] not in ended.err + ended.out


def test_no_module_is_named_by_data() -> None:
    found = []
    for room in ("bot", "diffusion", "storage"):
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            # Most files name nothing of the kind: they need not be understood.
            tree = ast.parse(
                text if re.search("import_|_import|exec_|run_|spec_|compile_", text) else ""
            )
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                    "import_module", "__import__", "exec_module", "run_path", "run_module",
                    "spec_from_file_location", "compile_command",
                ):  # fmt: skip
                    found.append((path.relative_to(ROOT).as_posix(), ast.unparse(node.args[0])))
    # Two packages that import their own parts late, from tables, and one optional library.
    assert found == [
        ("diffusion/__init__.py", "module"),
        ("diffusion/adapters/__init__.py", "module"),
        ("diffusion/upscale.py", "'spandrel'"),
    ]
    for package in (diffusion, diffusion.adapters):
        for name in ("os", "system", "../x", "data.evil"):
            with pytest.raises(AttributeError):
                getattr(package, name)
