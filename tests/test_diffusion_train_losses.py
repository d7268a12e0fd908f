"""Targets, weights, learning rates and dropped captions against the papers' formulas."""

import math

import pytest
import torch
from torch import Tensor

from diffusion.denoiser import to_denoised
from diffusion.train.losses import (
    Decay,
    add_noise,
    drop_captions,
    learning_rate_factor,
    min_snr_weights,
    signal_to_noise,
    target,
    weighted_loss,
)

TYPES = ("epsilon", "v_prediction", "sample")
# SNR 1/9, 1, 3, 9 and 99.
ABAR = torch.tensor([0.1, 0.5, 0.75, 0.9, 0.99], dtype=torch.float64)


def drawn(seed: int, count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 4, 3, 2)
    x0 = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x0, torch.randn(shape, generator=generator, dtype=torch.float64)


# Noise and targets


def test_noise_and_velocity_by_hand() -> None:
    """abar 0.64: x_t = 0.8 x0 + 0.6 eps and v = 0.8 eps - 0.6 x0."""
    x0, eps, abar = torch.tensor([[10.0]]), torch.tensor([[5.0]]), torch.tensor([0.64])
    assert add_noise(x0, eps, abar).item() == pytest.approx(11.0)
    assert target("v_prediction", x0, eps, abar).item() == pytest.approx(-2.0)
    assert target("epsilon", x0, eps, abar).item() == 5
    assert target("sample", x0, eps, abar).item() == 10


@pytest.mark.parametrize("prediction_type", TYPES)
def test_a_network_that_answers_the_target_is_denoised_to_x0(prediction_type: str) -> None:
    """What is trained is what the engine's `to_denoised` undoes (its x is x_t / sqrt(abar))."""
    x0, eps = drawn(1)
    answer = target(prediction_type, x0, eps, ABAR)
    x_t = add_noise(x0, eps, ABAR)
    for n, abar in enumerate(ABAR.tolist()):
        sigma = math.sqrt((1 - abar) / abar)
        found = to_denoised(prediction_type, x_t[n] / math.sqrt(abar), answer[n], sigma)
        assert torch.allclose(found, x0[n])


def test_each_sample_has_its_own_noise() -> None:
    x0, eps = drawn(2)
    for n in range(5):
        alone = add_noise(x0[n : n + 1], eps[n : n + 1], ABAR[n : n + 1])
        assert torch.equal(add_noise(x0, eps, ABAR)[n : n + 1], alone)
    # Five samples of five channels: abar must not lie along the channels.
    wide = torch.ones(5, 5)
    rows = add_noise(wide, torch.zeros(5, 5), ABAR.float())
    assert torch.allclose(rows, ABAR.float().sqrt()[:, None].expand(5, 5))
    with pytest.raises(ValueError, match="for 5 samples"):
        add_noise(x0, eps, ABAR[:1])


# Weights


def test_signal_to_noise_by_hand() -> None:
    wanted = torch.tensor([1 / 9, 1, 3, 9, 99], dtype=torch.float64)
    assert torch.allclose(signal_to_noise(ABAR), wanted)
    assert signal_to_noise(torch.tensor([0.0, 1.0])).tolist() == [0.0, math.inf]


@pytest.mark.parametrize(
    ("prediction_type", "wanted"),
    [
        ("sample", [1 / 9, 1, 3, 5, 5]),
        ("epsilon", [1, 1, 1, 5 / 9, 5 / 99]),
        ("v_prediction", [1 / 10, 1 / 2, 3 / 4, 5 / 10, 5 / 100]),
    ],
)
def test_min_snr_weights_by_hand(prediction_type: str, wanted: list[float]) -> None:
    found = min_snr_weights(prediction_type, ABAR, 5.0)
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64))
    assert torch.equal(found, min_snr_weights(prediction_type, ABAR))


@pytest.mark.parametrize("gamma", [0.3, 1.0, 5.0, 20.0])
def test_the_three_weightings_are_one_loss(gamma: float) -> None:
    """One wrong guess of x0, told as x0, as eps and as v, costs min(SNR, gamma) |x0 - x0'|^2.

    The guess's eps' and v' come from x_t = a x0' + s eps' and v' = a eps' - s x0', solved here.
    """
    x0, eps = drawn(3)
    guess = x0 + 0.1 * drawn(4)[0]
    a, s = ABAR.sqrt()[:, None, None, None], (1 - ABAR).sqrt()[:, None, None, None]
    x_t = a * x0 + s * eps
    guessed_eps = (x_t - a * guess) / s
    guesses = {"sample": guess, "epsilon": guessed_eps, "v_prediction": a * guessed_eps - s * guess}
    costs = [min(abar / (1 - abar), gamma) for abar in ABAR.tolist()]
    errors = [float((guess[n] - x0[n]).square().mean()) for n in range(5)]
    wanted = sum(c * e for c, e in zip(costs, errors, strict=True)) / 5
    for prediction_type, guessed in guesses.items():
        right = target(prediction_type, x0, eps, ABAR)
        weights = min_snr_weights(prediction_type, ABAR, gamma)
        assert float(weighted_loss(guessed, right, weights)) == pytest.approx(wanted, rel=1e-5)


def test_without_gamma_every_sample_counts_the_same() -> None:
    for prediction_type in TYPES:
        assert min_snr_weights(prediction_type, ABAR, None).tolist() == [1] * 5


def test_both_ends_of_the_noise_are_finite() -> None:
    """Schedules that end in pure noise have SNR 0; nothing may become 0 / 0."""
    ends = torch.tensor([0.0, 1.0])
    assert min_snr_weights("epsilon", ends).tolist() == [1.0, 0.0]
    assert min_snr_weights("v_prediction", ends).tolist() == [0.0, 0.0]
    assert min_snr_weights("sample", ends).tolist() == [0.0, 5.0]


def test_unknown_types_and_gammas_are_refused() -> None:
    x0, eps = drawn(5)
    for prediction_type in ("v", "flow"):
        with pytest.raises(ValueError, match="unknown prediction type"):
            target(prediction_type, x0, eps, ABAR)
        with pytest.raises(ValueError, match="unknown prediction type"):
            min_snr_weights(prediction_type, ABAR, None)
    for gamma in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            min_snr_weights("epsilon", ABAR, gamma)


def test_the_weighted_loss_by_hand() -> None:
    """Errors 1 and 2 in sample one (mean square 2.5), 3 and 0 in sample two (4.5)."""
    predicted, wanted = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 0], [0, 4]])
    assert weighted_loss(predicted, wanted, torch.tensor([1.0, 0.0])).item() == 1.25
    assert weighted_loss(predicted, wanted, torch.tensor([2.0, 1.0])).item() == 4.75
    ones = torch.ones(2)
    mean = torch.nn.functional.mse_loss(predicted, wanted)
    assert torch.equal(weighted_loss(predicted, wanted, ones), mean)
    # 1 - 2^-9 does not fit into 16 bits: the difference must be taken in 32.
    one, little = torch.ones(1, 1).bfloat16(), torch.full((1, 1), 2.0**-9).bfloat16()
    assert weighted_loss(one, little, torch.ones(1)).item() == (1 - 2.0**-9) ** 2


def test_the_loss_has_gradients_by_weight() -> None:
    predicted = torch.ones(2, 3, requires_grad=True)
    loss = weighted_loss(predicted, torch.zeros(2, 3), torch.tensor([1.0, 3.0]))
    (gradient,) = torch.autograd.grad(loss, predicted)
    assert torch.allclose(gradient[1], 3 * gradient[0])
    assert gradient[0, 0].item() == pytest.approx(2 / 6)


@pytest.mark.parametrize("shapes", [((2, 3), (1, 3), (2,)), ((2, 3), (2, 3), (1,))])
def test_shapes_that_would_broadcast_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="have the shapes"):
        weighted_loss(*(torch.ones(shape) for shape in shapes))


# The learning rate


@pytest.mark.parametrize("decay", ["cosine", "constant"])
def test_the_warm_up_is_a_straight_line(decay: Decay) -> None:
    found = [learning_rate_factor(step, 100, warmup=4, decay=decay) for step in range(5)]
    assert found == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert learning_rate_factor(0, 100, decay=decay) == 1.0


def test_the_cosine_by_hand() -> None:
    found = [learning_rate_factor(step, 14, warmup=2, floor=0.1) for step in (2, 5, 6, 8, 10, 14)]
    wanted = [1, 0.55 + 0.45 * math.sqrt(0.5), 0.55 + 0.225, 0.55, 0.55 - 0.225, 0.1]
    assert found == pytest.approx(wanted)
    assert learning_rate_factor(1000, 14, warmup=2, floor=0.1) == pytest.approx(0.1)
    assert learning_rate_factor(1000, 14, warmup=2, decay="constant", floor=0.1) == 1.0
    assert learning_rate_factor(14, 14) == pytest.approx(0.0)


def test_a_warm_up_as_long_as_the_run_or_longer() -> None:
    assert learning_rate_factor(9, 10, warmup=10) == 1.0
    assert learning_rate_factor(10, 10, warmup=10) == 1.0
    for warmup in (-1, 11):
        with pytest.raises(ValueError, match="does not fit a run of 10"):
            learning_rate_factor(0, 10, warmup=warmup)


# Captions


def test_captions_are_dropped_at_the_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    captions = [f"picture {n}" for n in range(20_000)]
    found = drop_captions(captions, 0.1, generator)
    empty = [n for n, caption in enumerate(found) if caption == ""]
    assert len(empty) == pytest.approx(2000, abs=5 * math.sqrt(1800))
    assert all(found[n] in ("", captions[n]) for n in range(20_000))
    # Independent of each other: as many neighbours fall together as chance has it.
    together = sum(found[n] == found[n + 1] == "" for n in range(19_999))
    assert together == pytest.approx(200, abs=80)


def test_none_and_all_captions_are_dropped() -> None:
    generator = torch.Generator().manual_seed(0)
    assert drop_captions(["a", "b"], 0.0, generator) == ["a", "b"]
    assert drop_captions(["a", "b"], 1.0, generator) == ["", ""]
    assert drop_captions([], 0.5, generator) == []
    for rate in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="no probability"):
            drop_captions(["a"], rate, generator)


def test_dropping_depends_on_the_generator_alone() -> None:
    def drops(rate: float) -> tuple[list[str], float]:
        generator = torch.Generator().manual_seed(7)
        found = drop_captions(["a"] * 64, rate, generator)
        return found, float(torch.rand(1, generator=generator))

    assert drops(0.5) == drops(0.5)
    assert drops(0.5)[1] == drops(0.0)[1]
    # A higher rate drops what a lower one drops, and more.
    low, high = drops(0.2)[0], drops(0.6)[0]
    assert all(h == "" for h, low_one in zip(high, low, strict=True) if low_one == "")
