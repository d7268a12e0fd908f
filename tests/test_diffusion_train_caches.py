"""What the denoiser sees: drawings and compositions, encoded with what they are called."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion.networks.vae import AutoencoderKL
from diffusion.train import caches, emoji
from diffusion.train.captions import WHITE
from diffusion.train.compose import split
from diffusion.train.compose.composition import Kind, Mix
from diffusion.train.data import known_names
from diffusion.train.denoiser import Batches
from diffusion.train.presets import TINY, EmojiPreset
from diffusion.train.vae import composite
from tests.parity.twins import fill
from tests.test_diffusion_train_compose_draw import discs, make_row

NAMES = known_names()[60:100]
ROWS = [make_row(i, "twemoji", name) for i, name in enumerate(NAMES)]
PIXELS = discs(ROWS)
PRESET = replace(TINY, compositions=60)


def tiny_vae() -> AutoencoderKL:
    vae = AutoencoderKL(TINY.vae.config).eval().requires_grad_(False)
    fill(vae, seed=3)
    return vae


def batches(preset: EmojiPreset = PRESET) -> Batches:
    rows = [row for row in ROWS if not row.held_out]
    text, _ = emoji.build_networks(preset, emoji.build_tokenizer(preset, rows), 0)
    return caches.make_batches(preset, tiny_vae(), PIXELS, rows, text)


@pytest.fixture(scope="module")
def made() -> Batches:
    return batches()


def test_shares_follow_the_mix_and_the_canvases(made: Batches) -> None:
    shares = [cache.share for cache in made.caches]
    assert sum(shares) == pytest.approx(1.0)
    plain = [c for c in made.caches if c.subjects[0].kind is Kind.PLAIN]
    assert sum(cache.share for cache in plain) == pytest.approx(PRESET.mix.plain)
    for cache in made.caches:
        assert len(cache.latents) == len(cache.subjects) == len(cache.backgrounds)
        assert not any(subject.canvas.size for subject in cache.subjects), "pixels stay in memory"
        kinds = {subject.kind for subject in cache.subjects}
        assert (Kind.PLAIN in kinds) == (kinds == {Kind.PLAIN})
    square = [c for c in made.caches if c not in plain and c.share > 0.1]
    assert {len(cache.subjects) for cache in square} == {round(60 * 0.8)}


def test_without_compositions_there_are_only_drawings() -> None:
    made = batches(TINY)
    kinds = {subject.kind for cache in made.caches for subject in cache.subjects}
    assert kinds == {Kind.PLAIN}
    assert sum(cache.share for cache in made.caches) == pytest.approx(1.0)


def test_nothing_held_out_is_encoded(made: Batches) -> None:
    for cache in made.caches:
        for subject in cache.subjects:
            assert not any(row.held_out for row in subject.rows)
            if subject.colour is not None:
                assert not split.is_colour_held_out(subject.colour, subject.names[0])
            if subject.kind is Kind.PAIR:
                assert not split.is_pair_held_out(*subject.names)


def test_latents_are_those_of_the_picture_on_its_background() -> None:
    """Backgrounds are named as they were painted, and never like the thing on them."""
    pictures = list(caches.compose(PIXELS, ROWS, 40, Mix(plain=0, recoloured=1, pair=0, counted=0,
                                                        sized=0)))  # fmt: skip
    vae = tiny_vae()
    cache = caches.latent_cache(
        vae,
        iter([replace(picture, flip=False) for picture in pictures]),
        size=(32, 32),
        share=1.0,
        rng=np.random.default_rng(1),
    )
    coloured = [i for i, colour in enumerate(cache.backgrounds) if colour != WHITE]
    assert 2 <= len(coloured) <= 20
    for i in (*coloured[:2], cache.backgrounds.index(WHITE)):
        art = torch.from_numpy(pictures[i].canvas).permute(2, 0, 1)[None].float() / 255
        behind = torch.tensor([cache.backgrounds[i].rgb]) / 255
        expected = vae.encode(composite(art, behind))
        assert torch.allclose(cache.latents[i], expected[0], atol=1e-5)
        assert cache.backgrounds[i].name != pictures[i].colour


def test_mirrored_pictures_are_only_those_that_may_be() -> None:
    vae, picture = tiny_vae(), next(caches.plain(PIXELS, ROWS))
    lopsided = picture.canvas.copy()
    lopsided[:, :16] = 0
    plain = caches.latent_cache(
        vae,
        iter([replace(picture, canvas=lopsided, flip=flip) for flip in [False, True] * 20]),
        size=(32, 32),
        share=1.0,
        rng=np.random.default_rng(0),
        white=True,
    )
    still, turned = plain.latents[::2], plain.latents[1::2]
    assert torch.allclose(still, still[:1].expand_as(still), atol=1e-5)
    changed = [not torch.allclose(one, still[0], atol=1e-3) for one in turned]
    assert 4 <= sum(changed) <= 16


def test_captions_and_tokens_go_with_the_pictures(made: Batches) -> None:
    generator = torch.Generator().manual_seed(5)
    latents, tokens = made.draw(16, generator)
    assert latents.shape[0] == tokens.shape[0] == 16
    assert tokens.shape[1] == TINY.window
    again = made.draw(16, torch.Generator().manual_seed(5))
    assert torch.equal(latents, again[0])
    assert torch.equal(tokens, again[1])
    subjects = [s for cache in made.caches for s in cache.subjects if s.kind is Kind.PAIR]
    text = made.caption(subjects[0], WHITE, np.random.default_rng(4))
    assert any(word in text for word in ("next to", " and ", " above ", " below "))


def test_the_tokenizer_has_met_the_words_of_compositions() -> None:
    """A plural or a relation in pieces would cost tokens that the window does not have."""
    preset = replace(PRESET, vocabulary=3000)
    tokenizer = emoji.build_tokenizer(preset, ROWS)
    for text in ("three", "next to", "above", "tiny"):
        assert len(tokenizer.encode(text).tokens) - 2 == len(text.split()), text
