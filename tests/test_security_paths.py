"""Names that would like to be paths: whatever is typed, nothing outside of its folder is opened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import bot.language
from diffusion.addon_files import enumerate_files

ROOT = Path(__file__).parent.parent


def furnished(root: Path) -> Path:
    """Lay out what an admin has, and outside of it what nobody may reach."""
    for name in ("loras", "embeddings", "words", "data"):
        (root / name).mkdir(parents=True)
    lora = {"lora_unet_mid.lora_down.weight": torch.zeros(1, 4)}
    for path in (root / "loras" / "good", root / "outside"):
        save_file(lora, path.with_suffix(".safetensors"))
    save_file({"emb_params": torch.zeros(1, 4)}, root / "embeddings" / "good.safetensors")
    (root / "words" / "good.txt").write_text("red\n")
    (root / "outside.txt").write_text("secret\n")
    (root / "loras" / "linked.safetensors").symlink_to(root / "outside.safetensors")
    (root / "words" / "linked.txt").symlink_to(root / "outside.txt")
    return root


def sent(root: Path, count: int) -> None:
    """Send so many names everywhere; see where they led."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "tests.hostile_paths", str(furnished(root)), str(count)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    root = root.resolve()
    allowed = [str(root / name) for name in ("loras", "embeddings", "words", "data")]
    allowed.append(str(Path(bot.language.__file__).parent / "languages"))
    # The positive: a name that is there is looked up, and its file is read.
    assert told["good"] >= 5
    assert str(root / "loras" / "good.safetensors") in told["inside"]
    assert str(root / "words" / "good.txt") in told["inside"]
    for path in (*told["inside"], *told["opened"]):
        assert any(path == each or path.startswith(f"{each}/") for each in allowed), path
    assert not [path for path in told["opened"] if "outside" in path]


def test_names_lead_nowhere(tmp_path: Path) -> None:
    sent(tmp_path / "root", 120)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_names_lead_nowhere(tmp_path: Path) -> None:
    sent(tmp_path / "root", 10_000)


def test_a_link_out_of_the_folder_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = furnished(tmp_path / "root")
    (root / "loras" / "near.safetensors").symlink_to(root / "loras" / "good.safetensors")
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "config.json").write_text("{}")
    (root / "loras" / "folder").symlink_to(root / "elsewhere")
    assert set(enumerate_files(root / "loras")) == {"good", "near"}
    assert "leads out of its folder" in caplog.text
    # The folder itself may well be a link.
    (root / "again").symlink_to(root / "loras")
    assert "good" in enumerate_files(root / "again")
