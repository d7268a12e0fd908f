"""The small networks beside the U-Net: the original files' names, what they refuse, what they
promise where no reference looks.
"""

import pytest
import torch

from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import (
    BERTConfig,
    ControlNetConfig,
    DDPMConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.tiny import TinyDecoder, TinyEncoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.networks.vq import AutoencoderVQ, Codebook


def test_full_size_networks_have_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        stable, control = UNet(UNetConfig()), ControlNet(ControlNetConfig())
        text = BERTTransformer(BERTConfig())
        cifar = DDPMUNet(DDPMConfig())
        tiny = TinyDecoder(TinyVAEConfig())
    counts = [
        sum(p.numel() for p in network.parameters())
        for network in (stable, control, text, cifar, tiny)
    ]
    assert counts[0] == 859_520_964
    assert counts[1] == 361_279_120
    assert counts[2] == pytest.approx(582.0e6 - 30522 * 1281, rel=1e-3)
    assert counts[3] == pytest.approx(35.7e6, rel=2e-3)
    assert counts[4] == pytest.approx(1.22e6, rel=5e-3)
    assert len(stable.state_dict()) == 686


def test_names_are_those_of_the_original_files() -> None:
    with torch.device("meta"):
        control = ControlNet(ControlNetConfig()).state_dict()
        tiny = TinyDecoder(TinyVAEConfig()).state_dict(), TinyEncoder(TinyVAEConfig()).state_dict()
        text = BERTTransformer(BERTConfig(layers=2)).state_dict()
        pixels = DDPMUNet(DDPMConfig()).state_dict()
        codes = AutoencoderVQ(VAEConfig(codes=8, attention=(False, False, False, True)))
        guided = UNet(UNetConfig(guidance_dim=256)).state_dict()
    assert {"zero_convs.11.0.weight", "middle_block_out.0.bias"} <= control.keys()
    assert control["input_hint_block.14.weight"].shape == (320, 256, 3, 3)
    assert {"1.weight", "3.conv.0.weight", "7.weight", "19.bias"} <= tiny[0].keys()
    assert "7.bias" not in tiny[0]
    assert {"0.weight", "1.conv.4.bias", "2.weight", "14.bias"} <= tiny[1].keys()
    assert {
        "token_emb.weight",
        "pos_emb.emb.weight",
        "attn_layers.layers.2.0.bias",
        "attn_layers.layers.2.1.to_q.weight",
        "attn_layers.layers.2.1.to_out.bias",
        "attn_layers.layers.3.1.net.0.0.weight",
        "attn_layers.layers.3.1.net.2.bias",
        "norm.weight",
    } <= text.keys()
    assert {
        "temb.dense.1.weight",
        "down.1.block.0.nin_shortcut.weight",
        "down.1.attn.1.proj_out.bias",
        "down.2.downsample.conv.weight",
        "mid.attn_1.q.weight",
        "up.3.block.2.temb_proj.weight",
        "up.1.upsample.conv.bias",
    } <= pixels.keys()
    assert {
        "quantize.embedding.weight",
        "encoder.down.3.attn.1.norm.weight",
        "decoder.up.3.attn.2.k.bias",
    } <= codes.state_dict().keys()
    assert guided["time_embed.cond_proj.weight"].shape == (320, 256)


def test_ddpm_is_called_as_every_backbone_and_refuses_what_it_cannot_use() -> None:
    unet = DDPMUNet(
        DDPMConfig(
            model_channels=32, channel_mult=(1, 1), num_res_blocks=1, attention=(False, True)
        )
    )
    x, timesteps = torch.zeros(1, 3, 4, 6), torch.tensor([5.0])
    assert unet(x, timesteps, None, None).shape == x.shape
    with pytest.raises(ValueError, match="unconditional"):
        unet(x, timesteps, torch.zeros(1, 2, 8))
    with pytest.raises(ValueError, match="5 x 4: both must be multiples of 2"):
        unet(x[..., :5], timesteps)


def test_a_text_longer_than_the_window_is_refused() -> None:
    bert = BERTTransformer(
        BERTConfig(vocab_size=9, width=8, layers=1, heads=2, head_dim=2, feed_forward=8, window=4)
    )
    with pytest.raises(ValueError, match="5 tokens does not fit the window of 4"):
        bert(torch.zeros(1, 5, dtype=torch.long))


def test_a_hint_of_another_size_is_refused() -> None:
    unet = UNetConfig(
        model_channels=32, channel_mult=(1,), transformer_depth=(0,), middle_depth=0,
        context_dim=None,
    )  # fmt: skip
    control = ControlNet(ControlNetConfig(unet=unet, hint_widths=(4, 8, 8, 8)))
    with pytest.raises(ValueError, match="hint is 32 x 24 pixels; latents of 4 x 4 need one 8"):
        control(torch.zeros(1, 4, 4, 4), torch.zeros(1, 3, 24, 32), torch.tensor([5.0]))


def test_the_nearest_code_is_found_in_pieces_as_in_one() -> None:
    torch.manual_seed(1)
    book = Codebook(codes=30, width=3)
    z = torch.randn(2, 3, 40, 40)
    distances = (z.movedim(1, -1)[..., None, :] - book.embedding.weight).square().sum(dim=-1)
    assert torch.equal(book.indices(z), distances.argmin(dim=-1))
    assert torch.equal(book(book(z)), book(z))


def test_latents_in_half_precision_find_their_codes_in_float32() -> None:
    torch.manual_seed(1)
    book = Codebook(codes=30, width=3).to(torch.float16)
    z = torch.randn(1, 3, 5, 5).to(torch.float16)
    assert torch.equal(book.indices(z), Codebook.indices(book.float(), z.float()))
    assert book.to(torch.float16)(z).dtype is torch.float16


@torch.inference_mode()
def test_what_is_scaled_can_be_unscaled() -> None:
    vae = AutoencoderKL(
        VAEConfig(
            channels=32,
            channel_mult=(1,),
            num_res_blocks=1,
            latents_mean=(1.0, 2.0, 3.0, 4.0),
            latents_std=(1.0, 2.0, 4.0, 8.0),
            scaling_factor=0.5,
        )
    )
    z = torch.ones(1, 4, 1, 1) * 5
    assert vae.scaled(z).flatten().tolist() == [2.0, 0.75, 0.25, 0.0625]
    assert torch.equal(vae.unscaled(vae.scaled(z)), z)


@torch.inference_mode()
def test_noise_changes_nothing_where_there_is_no_posterior() -> None:
    vae = AutoencoderVQ(
        VAEConfig(channels=32, channel_mult=(1,), num_res_blocks=1, z_channels=3, codes=8)
    )
    images = torch.zeros(1, 3, 4, 4)
    assert torch.equal(vae.encode(images), vae.encode(images, torch.ones(1, 3, 4, 4)))
