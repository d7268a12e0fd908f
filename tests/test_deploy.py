"""The files in deploy/: what they promise holds, and fits what the code does."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from bot.app import STOP_SECONDS
from bot.config import load_config, parse_config
from bot.exits import CONFIG
from bot.liveness import AWAY, BEAT, Health

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, each in one line."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), " ".join(rest.split())) for word, rest in split]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, from its FROM on."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def unit(name: str = "easel.service") -> dict[str, list[str]]:
    """Return what a unit sets, by name; one that is set twice has two values."""
    found = defaultdict(list)
    for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found[key].append(value)
    return dict(found)


def seconds(text: str) -> float:
    """Read a span of time as systemd and Compose write it."""
    number, unit_ = re.fullmatch(r"(\d+)(s|min|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "min": 60, "m": 60}[unit_]


def compose() -> dict[str, Any]:
    """Return the one service of compose.yaml."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return dict(found["services"]["easel"])


def test_the_base_is_pinned_and_the_same_in_all_stages() -> None:
    words = instructions()
    assert words[0][0] == "ARG"
    name, base = words[0][1].split("=")
    assert name == "BASE"
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)
    froms = [rest for word, rest in words if word == "FROM"]
    assert len(froms) == 2, "what builds does not ship"
    assert all(each.startswith("${BASE}") for each in froms)


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    last = stages()[-1]
    users = [rest for word, rest in last if word == "USER"]
    assert users
    user, group = users[-1].split(":")
    assert int(user) > 1000
    assert int(group) > 1000
    after = [word for word, _ in last][[word for word, _ in last].index("USER") :]
    assert not {"RUN", "COPY", "ADD"} & set(after), "nothing of the user's own is code"
    assert f"-o {user} -g {group}" in README


def test_nothing_is_fetched_but_by_hash() -> None:
    for word, rest in instructions():
        assert word != "ADD", "ADD fetches and unpacks"
        assert not re.search(r"\b(curl|wget|git|apt-get|apk)\b", rest), rest
        if "pip install" in rest:
            locked = "--require-hashes" in rest and "--only-binary :all:" in rest
            own = "--no-index" in rest and "--no-build-isolation" in rest
            assert "--no-deps" in rest
            assert locked or own, rest


def test_no_secret_comes_into_a_layer() -> None:
    for word, rest in instructions():
        if word in {"ARG", "ENV", "COPY", "RUN"}:
            assert not re.search(r"(?i)token|secret|password", rest), rest
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in allowed if line and not line.startswith("#")]
    assert rules[0] == "*", "everything stays out that is not let in"
    assert not any("token" in rule or "data" in rule for rule in rules[1:])
    assert "/deploy/discord-token" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_what_is_copied_is_there_and_let_in() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    for stage in stages():
        for word, rest in stage:
            if word != "COPY" or rest.startswith("--from"):
                continue
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(Path(source).match(rule) for rule in let_in), source
    needed = {"bot", "diffusion", "storage", "README.md", "LICENSE", "pyproject.toml"}
    assert needed <= set(let_in)


def test_the_health_check_asks_where_the_image_answers() -> None:
    config = parse_config((DEPLOY / "container.toml").read_text(encoding="utf-8"), Path("/x.toml"))
    (check,) = [rest for word, rest in stages()[-1] if word == "HEALTHCHECK"]
    assert f"http://127.0.0.1:{config.monitoring.port}/healthz" in check
    command = json.loads(check.split("CMD", 1)[1])
    assert command[0] == "python"
    compile(command[2], "HEALTHCHECK", "exec")
    assert config.storage.folder == Path("/data")
    assert ("VOLUME", "/data") in stages()[-1]
    assert config.discord.token_file == Path("/run/secrets/discord-token")
    assert config.monitoring.log_format == "json"


def test_the_entry_point_hears_signals_itself() -> None:
    (entry,) = [rest for word, rest in stages()[-1] if word == "ENTRYPOINT"]
    (command,) = [rest for word, rest in stages()[-1] if word == "CMD"]
    assert json.loads(entry) == ["easel"], "no shell between Docker and the bot"
    assert json.loads(command) == ["run", "--config", "/etc/easel/config.toml"]


def test_the_container_may_as_little_as_it_needs() -> None:
    service = compose()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["secrets"] == ["discord-token"]
    assert "environment" not in service
    assert "ports" not in service
    assert not service.get("privileged")
    assert seconds(service["stop_grace_period"]) > STOP_SECONDS + 5
    assert service["restart"].startswith("on-failure")
    assert "data:/data" in service["volumes"]


def test_the_unit_restarts_what_a_restart_can_mend() -> None:
    found = unit()
    assert found["Restart"] == ["on-failure"]
    assert found["RestartPreventExitStatus"] == [str(CONFIG)]
    assert seconds(found["TimeoutStopSec"][0]) > STOP_SECONDS + 5
    assert found["Type"] == ["notify"]
    # Beats may be lost, and a loop be late, without an end.
    assert seconds(found["WatchdogSec"][0]) >= 30 * BEAT
    assert "ExecStartPre" not in found, "its code 78 would not prevent a restart"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("RestrictNamespaces", "yes"),
        ("LockPersonality", "yes"),
        ("SystemCallArchitectures", "native"),
        ("UMask", "0077"),
        ("StateDirectory", "easel"),
        ("WorkingDirectory", "%S/easel"),
    ],
)
def test_the_unit_is_hardened(key: str, value: str) -> None:
    assert unit()[key] == [value]


def test_the_unit_takes_the_token_from_a_credential() -> None:
    found = unit()
    assert "Environment" not in found
    name, source = found["LoadCredential"][0].split(":")
    assert source == "/etc/easel/discord-token"
    assert f'token_file = "/run/credentials/easel.service/{name}"' in README
    assert shlex.split(found["ExecStart"][0])[1:] == ["run", "--config", "/etc/easel/config.toml"]


def test_the_readmes_settings_are_settings(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "config.toml"
    path.write_text(block, encoding="utf-8")
    config = load_config(path)
    assert config.storage.folder == Path("/var/lib") / unit()["StateDirectory"][0]
    assert (
        config.monitoring.port
        == tomllib.loads((DEPLOY / "container.toml").read_text(encoding="utf-8"))["monitoring"][
            "port"
        ]
    )


def test_the_readmes_health_is_the_health() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    shown = json.loads(block)
    facts = {name: shown[name] for name in shown if name not in {"healthy", "wrong"}}
    assert json.loads(bytes(Health(wrong=(), facts=facts))) == shown
    assert AWAY == 120, "the page says two minutes"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_agrees(tmp_path: Path) -> None:
    path = tmp_path / "easel.service"
    text = (DEPLOY / "easel.service").read_text(encoding="utf-8")
    path.write_text(text.replace("/opt/easel/.venv/bin/easel", "/bin/true"), encoding="utf-8")
    tool = str(shutil.which("systemd-analyze"))
    done = subprocess.run(  # noqa: S603 - systemd's own tool
        [tool, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    judged = subprocess.run(  # noqa: S603 - systemd's own tool
        [tool, "security", "--offline=true", "--threshold=15", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-200:]
