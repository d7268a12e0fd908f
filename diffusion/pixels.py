"""Between pictures (PIL, 8 bits) and tensors (N x 3 x H x W in [-1, 1])."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def pictures_from(images: Tensor) -> list[Image.Image]:
    """Round N x 3 x H x W in [-1, 1] (values outside are clipped) to RGB pictures."""
    scaled = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(each) for each in scaled.permute(0, 2, 3, 1).contiguous().numpy()]


def tensor_from(picture: Image.Image, *, width: int, height: int) -> Tensor:
    """Return a picture as 1 x 3 x height x width in [-1, 1], resampled (Lanczos) if it has another
    size.
    """
    rgb = picture.convert("RGB")
    if rgb.size != (width, height):
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 127.5 - 1
