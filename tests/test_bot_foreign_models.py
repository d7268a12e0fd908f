"""Somebody else's checkpoint from the command line and on Discord: what a prompt may say, what it
paints, and the sentence where it cannot be painted.

The checkpoint is a tiny Stable Diffusion 1 with random weights in one file.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from bot.config import parse_config
from diffusion.pictures import read_parameters
from diffusion.provenance import parse_params
from tests.bot_room import QUICK, open_room
from tests.parity.addons import LORAS, WORD
from tests.parity.pipelines import addons, system
from tests.test_bot_cli import Ended, easel, is_sentence
from tests.test_bot_with_the_shipped_model import Pixels, pixels, running

ASK = "--seed 7 --cfg 3"
SMALL = "[limits]\nmax_pixels = 4096\n[defaults]\nmodel = 'tiny'\nsteps = 2\n"


def settings(*, beside: Path | None = None) -> str:
    """Return a configuration of one model, with a folder of what is laid beside it."""
    lines = ["[models.tiny]", f'path = "{system("sd1").single}"']
    if beside is not None:
        lines += [f'loras = "{beside / "loras"}"', f'embeddings = "{beside / "embeddings"}"']
    return "\n".join([*lines, SMALL])


def imagine(folder: Path, prompt: str, *, beside: Path | None = None, ask: str = ASK) -> Ended:
    (folder / "config.toml").write_text(settings(beside=beside), encoding="utf-8")
    text = f"{prompt} {ask}".strip()
    config, grid = str(folder / "config.toml"), str(folder / "grid.png")
    return easel("imagine", text, "--config", config, "-o", grid)


def painted(folder: Path, prompt: str, *, beside: Path | None = None, ask: str = ASK) -> Pixels:
    """Paint a grid; return its pixels."""
    ended = imagine(folder, prompt, beside=beside, ask=ask)
    assert ended.code == 0, ended.err
    with Image.open(folder / "grid.png") as picture:
        grid = np.asarray(picture.convert("RGB"))
    assert grid.shape == (128, 128, 3)
    assert len(np.unique(grid)) > 16, "the random network paints something"
    return grid


def differ(one: Pixels, other: Pixels) -> bool:
    """Tell whether two grids differ by more than rounding."""
    return bool(np.abs(one.astype(int) - other.astype(int)).max() > 2)


def test_the_same_again_and_another_seed(tmp_path: Path) -> None:
    first = painted(tmp_path, "a fox")
    assert not differ(first, painted(tmp_path, "a fox"))
    assert differ(first, painted(tmp_path, "a fox", ask="--seed 9 --cfg 3"))
    assert differ(first[:64, :64], first[64:, 64:])


def test_a_lora_changes_the_picture_by_its_weight(tmp_path: Path) -> None:
    plain, beside = painted(tmp_path, "a fox"), addons()
    full = painted(tmp_path, f"a fox <lora:{LORAS[0]}:0.8>", beside=beside)
    assert differ(full, plain)
    assert differ(full, painted(tmp_path, f"a fox <lora:{LORAS[0]}:0.4>", beside=beside))
    assert differ(full, painted(tmp_path, f"a fox <lora:{LORAS[1]}:0.8>", beside=beside))
    assert not differ(plain, painted(tmp_path, f"a fox <lora:{LORAS[0]}:0>", beside=beside))
    assert not differ(plain, painted(tmp_path, "a fox", beside=beside))


def test_an_embedding_is_named_in_the_prompt(tmp_path: Path) -> None:
    prompt = f"a fox in the style of {WORD}"
    known = painted(tmp_path, prompt, beside=addons())
    assert differ(known, painted(tmp_path, prompt))


def test_parts_of_a_prompt_have_weights(tmp_path: Path) -> None:
    mixed = painted(tmp_path, "a fox::2 a storm::1")
    assert differ(mixed, painted(tmp_path, "a fox::1 a storm::2"))
    assert differ(mixed, painted(tmp_path, "a fox"))
    assert not differ(mixed, painted(tmp_path, "a fox::4 a storm::2"))


def test_a_prompt_may_change_on_the_way(tmp_path: Path) -> None:
    # Near the end words hardly show in this network's pictures, so the change comes early.
    ask = f"{ASK} --steps 4 --schedule uniform"
    turned = painted(tmp_path, "[a fox:a storm:0.25]", ask=ask)
    after = painted(tmp_path, "a storm", ask=ask)
    assert differ(turned, painted(tmp_path, "a fox", ask=ask))
    assert differ(turned, after)
    assert not differ(painted(tmp_path, "[a fox:a storm:0]", ask=ask), after)


def test_a_sampler_and_a_schedule_by_the_names_people_know(tmp_path: Path) -> None:
    ask = f'{ASK} --steps 3 --sampler "DPM++ 2S a" --schedule exponential'
    stepped = painted(tmp_path, "a fox", ask=ask)
    params = parse_params(read_parameters((tmp_path / "grid.png").read_bytes()) or "")
    assert (params.sampler, params.schedule, params.steps) == ("dpmpp_2s_a", "exponential", 3)
    assert differ(stepped, painted(tmp_path, "a fox", ask=ask.replace("exponential", "karras")))
    assert differ(stepped, painted(tmp_path, "a fox", ask=ask.replace("DPM++ 2S a", "Euler a")))


def test_all_of_it_at_once_and_again_from_its_own_text(tmp_path: Path) -> None:
    prompt = f"[a {WORD}:a fox:0.5]::2 a storm::1 <lora:{LORAS[0]}:0.8>"
    first = painted(tmp_path, prompt, beside=addons())
    params = parse_params(read_parameters((tmp_path / "grid.png").read_bytes()) or "")
    assert params.prompt == prompt
    again = painted(tmp_path, params.prompt, beside=addons(), ask=f"--seed {params.seed} --cfg 3")
    assert not differ(first, again)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a fox <lora:inck:0.8>", f"'{LORAS[0]}'"),
        ("a fox <lora:nothing-like-it:1>", ", ".join(sorted(LORAS))),
        ("a fox <lora:ink:much>", "ink"),
    ],
)
def test_a_lora_that_cannot_be_had(tmp_path: Path, prompt: str, told: str) -> None:
    ended = imagine(tmp_path, prompt, beside=addons())
    assert ended.code == 1
    assert is_sentence(ended)
    assert told in ended.err
    assert not (tmp_path / "grid.png").exists()


def test_a_lora_where_none_are_laid(tmp_path: Path) -> None:
    ended = imagine(tmp_path, "a fox <lora:ink:0.8>")
    assert ended.code == 1
    assert is_sentence(ended)
    assert "there is no LoRA here" in ended.err


def test_loras_that_do_not_fit_or_are_no_files_to_open(tmp_path: Path) -> None:
    loras = tmp_path / "loras"
    loras.mkdir()
    (tmp_path / "embeddings").mkdir()
    weights = load_file(addons() / "loras" / f"{LORAS[0]}.safetensors")
    wide = {
        key: value.repeat(1, 2) if "attn2_to_k.lora_down" in key else value
        for key, value in weights.items()
    }
    save_file(wide, loras / "wide.safetensors")
    (loras / "torn.safetensors").write_bytes((loras / "wide.safetensors").read_bytes()[:-9])
    for name in ("wide", "torn"):
        ended = imagine(tmp_path, f"a fox <lora:{name}:1>", beside=tmp_path)
        assert ended.code == 78
        assert is_sentence(ended)
        assert f"{name}.safetensors" in ended.err


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    ended = imagine(tmp_path, "a fox", beside=tmp_path / "gone")
    assert ended.code == 78
    assert is_sentence(ended)
    assert str(tmp_path / "gone" / "loras") in ended.err


async def test_a_grid_on_discord(tmp_path: Path) -> None:
    config = parse_config(f"{settings(beside=addons())}{QUICK}", tmp_path / "config.toml")
    prompt = f"a fox <lora:{LORAS[0]}:0.8> {ASK}"
    async with open_room(tmp_path) as room, running(room.pg, config):
        grid = await room.result_of(await room.imagine(prompt=prompt), timeout=30)
        whole = await pixels(room.pg, grid)
        buttons = {each.rsplit(":", 1)[1] for each in grid.custom_ids if ":upscale:" in each}
    assert whole.shape == (128, 128, 3)
    assert buttons == {"1", "2", "3", "4"}
    quarters = [whole[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    assert all(differ(quarters[0], other) for other in quarters[1:])
    assert not differ(whole, painted(tmp_path, prompt, beside=addons(), ask=""))
