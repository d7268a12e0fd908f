"""Pictures that params name must be there."""

import pytest
from PIL import Image

from diffusion import Control, Params, ParamsError
from diffusion.inputs import Inputs

PICTURE = Image.new("RGB", (32, 32))
HASH = "0" * 64


@pytest.mark.parametrize(
    ("params", "inputs", "message"),
    [
        (Params(prompt="x", init_image=HASH), Inputs(), "init_image.*not handed over"),
        (
            Params(prompt="x", init_image=HASH, mask=HASH),
            Inputs(init_image=PICTURE),
            "mask.*not handed over",
        ),
        (Params(prompt="x"), Inputs(mask=PICTURE), "needs init_image"),
        (Params(prompt="x", controls=(Control(model="edges", image=HASH),)), Inputs(), "0 hints"),
        (Params(prompt="x"), Inputs(hints=(PICTURE,)), "1 hints"),
    ],
)
def test_what_is_missing_is_named(params: Params, inputs: Inputs, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        inputs.check(params)


def test_what_is_complete_passes() -> None:
    params = Params(
        prompt="x", init_image=HASH, mask=HASH, controls=(Control(model="edges", image=HASH),)
    )
    Inputs(init_image=PICTURE, mask=PICTURE, hints=(PICTURE,)).check(params)
    Inputs().check(Params(prompt="x"))
