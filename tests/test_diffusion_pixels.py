"""Pictures to tensors and back."""

import numpy as np
import torch
from PIL import Image

from diffusion.pixels import pictures_from, tensor_from


def test_every_byte_survives_the_round_trip() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = Image.fromarray(np.stack([levels, levels.T, 255 - levels], axis=-1))
    tensor = tensor_from(picture, width=16, height=16)
    assert tensor.shape == (1, 3, 16, 16)
    assert float(tensor.min()) == -1.0
    assert float(tensor.max()) == 1.0
    assert np.array_equal(np.asarray(pictures_from(tensor)[0]), np.asarray(picture))


def test_values_outside_are_clipped() -> None:
    (picture,) = pictures_from(
        torch.tensor([-3.0, 0.0, 3.0])[None, :, None, None].expand(1, 3, 2, 2)
    )
    assert picture.getpixel((0, 0)) == (0, 128, 255)


def test_another_size_is_resampled() -> None:
    assert tensor_from(Image.new("L", (10, 4)), width=16, height=8).shape == (1, 3, 8, 16)
