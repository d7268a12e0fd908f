"""`easel models`: what a file is, told from its contents; and from a hub to a picture.

The checkpoints are tiny ones in the field's layouts; the hub is on the loopback.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from bot.__main__ import app
from bot.models_cli import describe
from diffusion.checkpoints import open_checkpoint
from diffusion.info import model_path
from diffusion.pictures import read_parameters
from diffusion.provenance import parse_parameters, parse_params
from tests.checkpoint_files import sparse
from tests.hub import Hub, serving
from tests.parity.addons import CONTROLS, LORAS
from tests.parity.pipelines import addons, system
from tests.test_bot_cli import Ended, easel, is_sentence

Shapes = Mapping[str, tuple[str, Sequence[int]]]
UNET = "unet/diffusion_pytorch_model.safetensors"
SINGLE = "weights.safetensors"


def inspected(path: Path | str, *more: str) -> dict[str, str]:
    """Inspect something that is in order; return its lines by their labels."""
    ended = easel("models", "inspect", str(path), *more)
    assert ended.code == 0, ended.err
    assert not ended.err
    return dict(line.strip().split("  ", 1) for line in ended.out.splitlines())


def told(lines: Mapping[str, str], label: str) -> str:
    return lines[label].strip()


def refused(ended: Ended, *parts: str) -> bool:
    """Tell whether a command ended as a supervisor and a person can understand."""
    return ended.code == 78 and is_sentence(ended) and all(part in ended.err for part in parts)


def lora_of(path: Path, layer: str, width: int) -> Path:
    """Write the head and no weights of a LoRA that changes one layer."""
    tensors: Shapes = {
        f"{layer}.lora_down.weight": ("F16", (4, width)),
        f"{layer}.lora_up.weight": ("F16", (320, 4)),
        f"{layer}.alpha": ("F16", ()),
    }
    return sparse(path, tensors)


def cross_lora(path: Path, width: int) -> Path:
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    return lora_of(path, layer, width)


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    """A folder as people have them: LoRAs of two families, and what is none."""
    folder = tmp_path / "loras"
    (folder / "old").mkdir(parents=True)
    cross_lora(folder / "one.safetensors", 768)
    cross_lora(folder / "large.safetensors", 2048)
    lora_of(folder / "old" / "odd.safetensors", "lora_unet_mid_block_resnets_0_conv1", 640)
    sparse(folder / "words.safetensors", {"emb_params": ("F32", (3, 768))})
    (folder / "torn.safetensors").write_bytes((folder / "one.safetensors").read_bytes()[:40])
    return folder


def test_the_configured_models_are_listed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[models.emoji]\npath = "emoji"\n[models.tiny]\npath = "{system("sd1").folder}"\n',
        encoding="utf-8",
    )
    ended = easel("models", "--config", str(config))
    assert ended.code == 0, ended.err
    first, second = ended.out.splitlines()
    assert first == f"emoji  emoji, 64x64, {model_path('emoji')}"
    assert second == f"tiny   sd1, 64x64, {system('sd1').folder}"


def test_a_configuration_that_names_no_model(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    assert refused(easel("models", "--config", str(config)), "config.toml")
    config.write_text('[models.emoji]\npath = "emoji"\n[models.b]\npath = "gone"\n')
    assert refused(easel("models", "--config", str(config)), "[models.b]", "gone")


@pytest.mark.parametrize(
    ("name", "layout", "family", "prediction"),
    [
        ("sd1", "folder", "sd1", "epsilon"),
        ("sd1", "single", "sd1", "epsilon"),
        ("sd2-v", "folder", "sd2", "v_prediction"),
        ("sd2", "single", "sd2", "tried out when it is loaded"),
        ("sdxl", "single", "sdxl", "epsilon"),
    ],
)
def test_a_model(name: str, layout: str, family: str, prediction: str) -> None:
    path: Path = getattr(system(name), layout)
    lines = inspected(path)
    assert told(lines, "path") == str(path)
    assert told(lines, "kind") == "model"
    assert told(lines, "family") == family
    assert prediction in told(lines, "prediction")
    assert told(lines, "precision") == "float32"
    files = list(path.rglob("*.safetensors")) if layout == "folder" else [path]
    total = sum(file.stat().st_size for file in files)
    counted = f"{len(files)} files" if len(files) > 1 else "1 file"
    assert told(lines, "size") == f"{total / 2**20:.1f} MiB in {counted}"
    if layout == "single":
        assert told(lines, "sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(told(lines, "sha256")) == 64
    assert told(lines, "LoRAs") == f"those made for {family} fit"
    texts = {"text", "text_2"} if family == "sdxl" else {"text"}
    assert lines.keys() >= {"unet", "vae", *texts}


def test_the_columns_are_aligned() -> None:
    out = easel("models", "inspect", str(system("sd1").single)).out
    begins = {
        len(line) - len(line.lstrip().split("  ", 1)[1].lstrip()) for line in out.splitlines()
    }
    assert begins == {len("prediction") + 2}


def test_a_model_of_gigabytes() -> None:
    found = open_checkpoint(system("sd1").single)
    object.__setattr__(found, "bytes", 5 * 2**29)
    assert dict(describe(found, None))["size"] == "2.50 GiB in 1 file"


def test_a_model_that_no_lora_is_made_for() -> None:
    assert told(inspected(system("ddpm").single), "LoRAs") == "none are made for this family"


def test_which_loras_fit(loras: Path) -> None:
    lines = inspected(system("sd1").single, "--loras", str(loras))
    assert told(lines, "one") == "fits"
    assert told(lines, "large") == "is made for sdxl, not for this"
    assert told(lines, "old/odd") == "does not tell what it is made for: try it"
    assert told(lines, "words") == "is no LoRA but embedding"
    assert "torn.safetensors" in told(lines, "torn")
    lines = inspected(system("sdxl").single, "--loras", str(loras))
    assert told(lines, "one") == "is made for sd1, not for this"
    assert told(lines, "large") == "fits"


def test_loras_that_leave_cross_attention_alone_fit_too(tmp_path: Path) -> None:
    layer = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    path = lora_of(tmp_path / "words.safetensors", layer, 768)
    assert told(inspected(path), "family") == "sd1"
    lines = inspected(system("sd1").folder, "--loras", str(tmp_path))
    assert told(lines, "words") == "fits"


def test_a_folder_of_loras_that_is_not_there(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert refused(easel("models", "inspect", str(system("sd1").single), "--loras", gone), gone)


def test_what_is_laid_beside_a_model(loras: Path) -> None:
    lora = inspected(loras / "one.safetensors")
    assert (told(lora, "kind"), told(lora, "family")) == ("lora", "sd1")
    assert told(lora, "precision") == "float16"
    assert told(lora, "size").endswith(" KiB in 1 file")
    assert "prediction" not in lora
    assert "LoRAs" not in lora
    words = inspected(loras / "words.safetensors")
    assert (told(words, "kind"), told(words, "family")) == ("embedding", "sd1")
    folder, single = (addons() / "controls" / name for name in CONTROLS)
    for path in (folder, single.with_suffix(".safetensors")):
        assert told(inspected(path), "kind") == "controlnet"
    plain = inspected(addons() / "loras" / f"{LORAS[0]}.safetensors")
    assert told(plain, "family") == "not to be told from its tensors"


def test_an_autoencoder() -> None:
    lines = inspected(system("sd1").folder / "vae")
    assert told(lines, "kind") == "vae"
    assert "prediction" not in lines


@pytest.mark.parametrize("path", ["emoji", model_path("emoji")])
def test_the_shipped_model(path: Path | str) -> None:
    lines = inspected(path)
    file = model_path("emoji") / "model.safetensors"
    assert told(lines, "path") == str(file)
    assert told(lines, "family") == "emoji"
    assert told(lines, "prediction") == "v_prediction"
    assert told(lines, "precision") == "float16"
    assert told(lines, "size") == f"{file.stat().st_size / 2**20:.1f} MiB in 1 file"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert told(lines, "sha256") == f"{digest} (as config.json says)"
    assert told(lines, "LoRAs") == "none are made for this family"


def test_a_shipped_model_whose_weights_are_others(tmp_path: Path) -> None:
    config = json.loads((model_path("emoji") / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert refused(easel("models", "inspect", str(tmp_path)), "model.safetensors")
    sparse(tmp_path / "model.safetensors", {"a": ("BF16", (4,)), "b": ("F32", (1,))})
    lines = inspected(tmp_path)
    assert told(lines, "sha256").endswith("(NOT the one of config.json)")
    assert told(lines, "precision") == "bfloat16"


def test_what_cannot_be_inspected(tmp_path: Path) -> None:
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x02}q\x00.")
    assert refused(easel("models", "inspect", str(pickle)), str(pickle), "pickle")
    hidden = tmp_path / "hidden.safetensors"
    hidden.write_bytes(b"PK\x03\x04" + b"\0" * 60)
    assert refused(easel("models", "inspect", str(hidden)), str(hidden), "pickle")
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(system("sd1").single.read_bytes()[:-999])
    assert refused(easel("models", "inspect", str(torn)), str(torn))
    other = sparse(tmp_path / "other.safetensors", {"a.b": ("F32", (2,))})
    assert refused(easel("models", "inspect", str(other)), "a.b")
    assert refused(easel("models", "inspect", str(tmp_path)), str(tmp_path), "no folder of a model")
    assert refused(easel("models", "inspect", str(tmp_path / "gone")), "gone")
    assert refused(easel("models", "inspect", "emojy"), "'emoji'")
    assert easel("models", "inspect").code == 2


@pytest.mark.parametrize("path", ["emoji", "sd1"])
def test_inspecting_loads_no_torch(path: str, loras: Path) -> None:
    where = system("sd1").folder if path == "sd1" else path
    code = (
        "import sys; from bot.models_cli import models; "
        f"models(['inspect', {str(where)!r}, '--loras', {str(loras)!r}], standalone_mode=False); "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert "kind" in done.stdout
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with a folder of components and a single file beside it."""
    root = system("sd1").folder
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    with serving(Hub(files=files | {SINGLE: system("sd1").single.read_bytes()})) as running:
        yield running


def pull(hub: Hub, folder: Path, *more: str) -> Ended:
    return easel(
        "models", "pull", hub.repo, "--folder", str(folder), "--endpoint", hub.endpoint, *more
    )


def test_from_the_hub_to_a_picture(hub: Hub, tmp_path: Path) -> None:
    ended = pull(hub, tmp_path / "models")
    path = tmp_path / "models" / "model"
    assert ended.code == 0, ended.err
    assert ended.out == f"{path}\n"
    assert not (path / SINGLE).exists()
    lines = inspected(path)
    assert (told(lines, "kind"), told(lines, "family")) == ("model", "sd1")
    assert told(lines, "sha256") == told(inspected(system("sd1").folder), "sha256")

    config, grid = tmp_path / "config.toml", tmp_path / "grid.png"
    config.write_text(
        '[models.tiny]\npath = "models/model"\n[defaults]\nmodel = "tiny"\nsteps = 2\n'
    )
    prompt = "a fox, oil on canvas --ar 3:2 --seed 7 --sampler euler_a --schedule exponential"
    ended = easel("imagine", prompt, "--config", str(config), "-o", str(grid))
    assert ended.code == 0, ended.err
    assert ended.out == f"{grid}\n"
    text = read_parameters(grid.read_bytes()) or ""
    params, settings = parse_params(text), parse_parameters(text).settings
    assert (params.sampler, params.schedule) == ("euler_a", "exponential")
    assert (params.width, params.height) == (80, 48)
    assert (params.prompt, params.seed, params.steps) == ("a fox, oil on canvas", 7, 2)
    assert (params.model, settings["Model"]) == ("tiny", "model")
    with Image.open(grid) as picture:
        assert picture.size == (160, 96)
        colours = picture.convert("RGB").getcolors(160 * 96)
        assert colours is not None
        assert len(colours) > 16


def test_one_file_of_a_repository(hub: Hub, tmp_path: Path) -> None:
    ended = pull(hub, tmp_path / "here", "--file", SINGLE)
    assert ended.code == 0, ended.err
    assert ended.out == f"{tmp_path / 'here' / SINGLE}\n"
    assert [path.name for path in (tmp_path / "here").iterdir()] == [SINGLE]
    assert told(inspected(tmp_path / "here" / SINGLE), "family") == "sd1"


def test_progress_is_drawn_on_a_terminal(hub: Hub, tmp_path: Path) -> None:
    arguments = ["models", "pull", hub.repo, "--folder", str(tmp_path), "--file", SINGLE]
    result = CliRunner().invoke(
        app,
        [*arguments, "--endpoint", hub.endpoint],
        env={"FORCE_COLOR": "1", "COLUMNS": "120", "TERM": "xterm"},
    )
    assert result.exit_code == 0, result.stderr
    size = f"{len(hub.files[SINGLE]) / 1e6:.1f}"
    assert SINGLE in result.stderr
    assert f"{size}/{size} MB" in result.stderr
    assert result.stdout.strip() == str(tmp_path / SINGLE)


def test_a_file_that_arrives_damaged_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.instead[UNET] = bytes(len(hub.files[UNET]))
    assert refused(pull(hub, tmp_path), UNET, "hash")
    assert not (tmp_path / "model" / UNET).exists()


@pytest.mark.parametrize(
    ("repo", "said"),
    [("someone/else", "'someone/else'"), ("no repository at all", "owner/name")],
)
def test_a_repository_that_is_not_there(hub: Hub, tmp_path: Path, repo: str, said: str) -> None:
    hub.status = 404
    ended = easel("models", "pull", repo, "--folder", str(tmp_path), "--endpoint", hub.endpoint)
    assert refused(ended, said)
    assert not list(tmp_path.rglob("*.*"))


def test_what_the_hub_does_not_have(hub: Hub, tmp_path: Path) -> None:
    assert refused(pull(hub, tmp_path, "--file", "gone.safetensors"), "gone.safetensors")
    assert refused(pull(hub, tmp_path, "--revision", "next"), "'next'")
