"""Weights into networks: exact, finite, complete, and never twice in memory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from diffusion.checkpoints import Checkpoint, Part, Piece, Source, open_checkpoint
from diffusion.checkpoints.header import TensorInfo, read_header
from diffusion.checkpoints.load import load_part
from diffusion.errors import CheckpointError
from diffusion.networks.configs import ClassConfig, TinyVAEConfig, VAEConfig
from diffusion.networks.tiny import TinyDecoder, TinyEncoder
from diffusion.networks.vae import AutoencoderKL
from tests.checkpoint_files import sparse
from tests.test_diffusion_checkpoints_headers import header

ROOT = Path(__file__).parent.parent
SMALL = VAEConfig(channels=32, channel_mult=(1, 2), num_res_blocks=1)


def vae_file(path: Path, dtype: torch.dtype = torch.float32, **changes: Tensor) -> Path:
    torch.manual_seed(3)
    state = {k: v.to(dtype) for k, v in AutoencoderKL(SMALL).state_dict().items()}
    save_file({**state, **{k.replace("__", "."): v for k, v in changes.items()}}, path)
    return path


def empty() -> AutoencoderKL:
    with torch.device("meta"):
        return AutoencoderKL(SMALL)


def load(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
    network = empty()
    load_part(checkpoint.parts["vae"], network, "cpu", dtype)
    return network


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
def test_an_autoencoder_alone(prefix: str, tmp_path: Path) -> None:
    state = AutoencoderKL(SMALL).state_dict()
    save_file({prefix + k: v for k, v in state.items()}, tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    assert (checkpoint.kind, checkpoint.parts["vae"].config) == ("vae", SMALL)
    found = load(checkpoint).state_dict()
    assert not [key for key in state if not torch.equal(state[key], found[key])]


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_loading_in_inference_mode_gives_weights_like_any(
    stored: torch.dtype, tmp_path: Path
) -> None:
    """Threads fill the weights; a mode of the caller's must neither stop them nor stay on."""
    checkpoint = open_checkpoint(vae_file(tmp_path / "x.safetensors", stored))
    with torch.inference_mode():
        network = load(checkpoint)
    plain = load(checkpoint).state_dict()
    assert not any(parameter.is_inference() for parameter in network.parameters())
    found = network.state_dict()
    assert not [key for key in plain if not torch.equal(plain[key], found[key])]


def test_a_loaded_network_is_ready(tmp_path: Path) -> None:
    network = load(open_checkpoint(vae_file(tmp_path / "x.safetensors")))
    assert not network.training
    assert not any(p.requires_grad or p.is_meta for p in network.parameters())
    with torch.inference_mode():
        assert network.decode(torch.zeros(1, 4, 2, 2)).isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_must_be_finite(value: float, tmp_path: Path) -> None:
    broken = torch.zeros(64)
    broken[-1] = value
    path = vae_file(tmp_path / "x.safetensors", decoder__conv_in__bias=broken)
    with pytest.raises(CheckpointError, match=r"decoder\.conv_in\.bias' holds numbers .* not"):
        load(open_checkpoint(path))


def test_numbers_must_fit_the_precision(tmp_path: Path) -> None:
    path = vae_file(tmp_path / "x.safetensors", decoder__conv_in__bias=torch.full((64,), 1e6))
    load(open_checkpoint(path))
    with pytest.raises(CheckpointError, match="not finite as float16"):
        load(open_checkpoint(path), torch.float16)


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_large_numbers_are_finite_though_their_sum_is_not(
    stored: torch.dtype, tmp_path: Path
) -> None:
    shape = AutoencoderKL(SMALL).state_dict()["encoder.conv_in.weight"].shape
    large = torch.full(shape, torch.finfo(stored).max, dtype=stored)
    path = vae_file(tmp_path / "x.safetensors", stored, encoder__conv_in__weight=large)
    found = load(open_checkpoint(path), stored)
    assert torch.equal(found.state_dict()["encoder.conv_in.weight"], large)


def test_a_file_that_shrinks_after_it_was_described(tmp_path: Path) -> None:
    path = vae_file(tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(path)
    os.truncate(path, path.stat().st_size - 1000)
    with pytest.raises(CheckpointError, match="became shorter"):
        load(checkpoint)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(checkpoint)


def test_weights_that_are_changed_leave_their_file_alone(tmp_path: Path) -> None:
    """Weights may lie in the mapped file: a LoRA that is merged must not reach it."""
    path = vae_file(tmp_path / "x.safetensors")
    before, network = path.read_bytes(), load(open_checkpoint(path))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert path.read_bytes() == before
    again = load(open_checkpoint(path)).state_dict()
    assert not [k for k, v in network.state_dict().items() if not torch.equal(v, again[k] + 1)]


def test_numbers_at_odd_places_are_read(tmp_path: Path) -> None:
    """A tensor may start anywhere in a file, even between two multiples of its width."""
    path, weight = tmp_path / "x.safetensors", torch.arange(6, dtype=torch.float32)
    path.write_bytes(b"x" * 9 + weight.numpy().tobytes())
    info = TensorInfo(dtype="F32", shape=(3, 2), start=9, end=33)
    piece = Piece(file=path, key="weight", info=info)
    sources = {"weight": Source(pieces=(piece,), shape=(3, 2))}
    with torch.device("meta"):
        network = nn.Embedding(3, 2)
    load_part(
        Part(name="text", config=ClassConfig(), sources=sources), network, "cpu", torch.float32
    )
    assert torch.equal(network.weight, weight.reshape(3, 2))


def test_part_and_network_must_match(tmp_path: Path) -> None:
    part = open_checkpoint(vae_file(tmp_path / "x.safetensors")).parts["vae"]
    with torch.device("meta"):
        other = AutoencoderKL(VAEConfig(channels=64, channel_mult=(1, 2, 2), num_res_blocks=1))
    with pytest.raises(CheckpointError, match=r"missing .* wrong shape .*conv_in"):
        load_part(part, other, "cpu", torch.float32)


def test_eight_bits_are_widened(tmp_path: Path) -> None:
    path = vae_file(tmp_path / "x.safetensors", torch.float8_e4m3fn)
    checkpoint = open_checkpoint(path)
    assert checkpoint.precision == "float8_e4m3"
    network = load(checkpoint, torch.bfloat16)
    assert network.decoder.conv_in.weight.dtype is torch.bfloat16
    assert float(network.decoder.conv_in.weight.abs().max()) > 0


def test_tensors_larger_than_the_buffer(tmp_path: Path) -> None:
    """A cast goes through a buffer of a few megabytes: no number is lost where it wraps."""
    weight = torch.arange(3_000_001, dtype=torch.float32)[:, None].half().float() / 7
    weight = weight.clamp(max=60_000).contiguous()
    save_file({"embedding.weight": weight}, tmp_path / "x.safetensors")
    info = read_header(tmp_path / "x.safetensors").tensors["embedding.weight"]
    piece = Piece(file=tmp_path / "x.safetensors", key="embedding.weight", info=info)
    part = Part(
        name="text",
        config=ClassConfig(),
        sources={"embedding.weight": Source(pieces=(piece,), shape=(3_000_001, 1))},
    )
    for dtype in (torch.float32, torch.float64, torch.float16):
        with torch.device("meta"):
            network = nn.ModuleDict({"embedding": nn.Embedding(3_000_001, 1)})
        load_part(part, network, "cpu", dtype)
        assert torch.equal(network.state_dict()["embedding.weight"], weight.to(dtype))


def test_positions_are_counted_anew(tmp_path: Path) -> None:
    """A merged file's damaged indices change nothing: they never reach the network."""
    config = CLIPTextConfig(
        vocab_size=99, hidden_size=64, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=80,
    )  # fmt: skip
    model = CLIPTextModel(config)
    text = {k.removeprefix("text_model."): v for k, v in model.state_dict().items()}
    save_file({f"x.{k}": v for k, v in text.items()}, tmp_path / "x.safetensors")
    tensors = read_header(tmp_path / "x.safetensors").tensors
    path = tmp_path / "x.safetensors"
    pieces = {k: Piece(file=path, key=f"x.{k}", info=tensors[f"x.{k}"]) for k in text}
    sources = {k: Source(pieces=(pieces[k],), shape=tuple(v.shape)) for k, v in text.items()}
    with torch.device("meta"):
        network = CLIPTextModel(config)
    part = Part(name="text", config=ClassConfig(), sources=sources)
    load_part(part, network, "cpu", torch.float32)
    ids = torch.arange(77)[None]
    with torch.inference_mode():
        wanted, found = model.train(False)(ids).last_hidden_state, network(ids).last_hidden_state
    assert torch.equal(cast(Tensor, wanted), cast(Tensor, found))


@pytest.mark.parametrize("kind", [TinyDecoder, TinyEncoder])
def test_tiny_autoencoders(kind: type[TinyDecoder | TinyEncoder], tmp_path: Path) -> None:
    config = TinyVAEConfig(width=8, blocks=(2, 1, 1))
    state = kind(config).state_dict()
    save_file(state, tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    name = "taesd" if kind is TinyDecoder else "taesd_encoder"
    assert (checkpoint.kind, checkpoint.parts[name].config) == ("taesd", config)
    with torch.device("meta"):
        network = kind(config)
    load_part(checkpoint.parts[name], network, "cpu", torch.float32)
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())


MEASURE = """
import sys, torch
from pathlib import Path
from diffusion.checkpoints import open_checkpoint
from diffusion.checkpoints.load import load_part
from diffusion.networks.vae import AutoencoderKL

def resident(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

part = open_checkpoint(Path(sys.argv[1])).parts["vae"]
with torch.device("meta"):
    network = AutoencoderKL(part.config)
torch.zeros(1000).aminmax()
before = resident("VmRSS")
load_part(part, network, "cpu", getattr(torch, sys.argv[2]))
weights = sum(p.numel() * p.element_size() for p in network.parameters())
print((resident("VmHWM") - before) / weights)
"""


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_peak_is_the_weights(dtype: str, tmp_path: Path) -> None:
    """A half-precision file of 167 MB: at most a fifth more than the network itself."""
    alone = {
        key: ("F16", shape)
        for key, (_, shape) in header("sd15").items()
        if key.startswith("first_stage_model.")
    }
    path = sparse(tmp_path / "x.safetensors", alone)
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", MEASURE, str(path), dtype],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.9 < float(done.stdout) < 1.2
