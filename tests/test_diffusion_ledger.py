"""The ledger: what is held, what fits, what is refused."""

from dataclasses import replace

import pytest
import torch

from diffusion import Params
from diffusion.errors import OutOfMemoryError
from diffusion.ledger import (
    LEAST_TILE,
    Ledger,
    networks_of,
    size_text,
    smaller_tile,
    weight_bytes,
)
from diffusion.model import Model
from diffusion.networks.pixels import PixelSpace
from diffusion.rows import Kind
from diffusion.starts import WHOLE
from tests.tiny import tiny_model

CPU, OTHER = torch.device("cpu"), torch.device("meta")
MIB = 1 << 20
PARAMS = Params(prompt="a red heart", model="tiny", steps=3, width=32, height=32)


def kind(side: int = 8, *, context: int = 77, controls: int = 0, tile: bool = False) -> Kind:
    return Kind(
        model=0,
        shape=(4, side, side),
        context=context,
        tile=tile,
        controls=((0, False),) * controls,
        threads=1,
    )


def ledger(budget: int, *, device: torch.device = CPU) -> Ledger:
    return Ledger(device, budget=budget)


def fresh() -> Model:
    """The tiny model without anything hoisted yet."""
    return replace(tiny_model())


def test_what_is_held_is_not_free() -> None:
    books = ledger(100)
    books.hold("a", 30)
    books.hold("b", 90)
    assert (books.held, books.free) == (120, -20)
    books.hold("b", 10)
    books.hold("a", 0)
    books.hold("never", 0)
    assert (books.held, books.free) == (10, 90)


def test_the_budget_is_measured_where_none_is_given() -> None:
    assert MIB < Ledger(CPU).budget < 1 << 50


def test_rows_are_counted_by_their_bytes() -> None:
    model = fresh()
    need = ledger(0).pass_need(model, kind(), 3)
    assert ledger(need).rows_that_fit(model, kind(), 16) == 3
    assert ledger(need - 1).rows_that_fit(model, kind(), 16) == 2
    assert ledger(need).rows_that_fit(model, kind(), 2) == 2
    assert ledger(0).rows_that_fit(model, kind(), 16) == 0
    crowded = ledger(need)
    crowded.hold("weights", 1)
    assert crowded.rows_that_fit(model, kind(), 16) == 2


def test_larger_longer_steered_and_seamless_passes_need_more() -> None:
    model, books = fresh(), ledger(0)
    plain = books.pass_need(model, kind(), 2)
    for more in (kind(16), kind(context=154), kind(controls=1)):
        assert books.pass_need(model, more, 2) > plain
    assert books.pass_need(model, kind(tile=True), 2) >= plain


def test_a_measured_peak_replaces_the_estimate() -> None:
    model, books = fresh(), ledger(100 * MIB)
    assert books.pass_need(model, kind(), 4) < 10 * MIB
    books.note(model, kind(), 4, 40 * MIB)
    assert books.pass_need(model, kind(), 4) == 40 * MIB
    assert books.pass_need(model, kind(), 2) == 40 * MIB, "no better is known of fewer rows"
    assert books.pass_need(model, kind(), 8) == 80 * MIB
    assert books.rows_that_fit(model, kind(), 16) == 10
    books.note(model, kind(), 2, 15 * MIB)
    books.note(model, kind(), 4, 0)
    assert books.pass_need(model, kind(), 2) == 15 * MIB
    assert books.pass_need(model, kind(), 4) == 40 * MIB, "a replayed graph allocates nothing"
    assert books.pass_need(model, kind(16), 4) < 40 * MIB, "another size is another thing"


def test_passes_are_measured_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh()
    here = ledger(MIB)
    estimated = here.pass_need(model, kind(), 2)
    with here.measuring(model, kind(), 2):
        pass
    assert here.pass_need(model, kind(), 2) == estimated
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 * MIB)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 12 * MIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    there = ledger(MIB, device=torch.device("cuda"))
    with there.measuring(model, kind(), 2):
        pass
    assert there.pass_need(model, kind(), 2) == 7 * MIB
    with pytest.raises(ZeroDivisionError), there.measuring(model, kind(), 3):
        raise ZeroDivisionError
    assert there.pass_need(model, kind(), 3) == 7 * MIB * 3 // 2, "a pass that failed tells nothing"


def test_decoding_takes_the_largest_tile_that_fits() -> None:
    model, side = fresh(), 256
    needs = {tile: ledger(0).decode_need(model, side, side, tile) for tile in (160, 80, 40, 20)}
    assert sorted(needs.values(), reverse=True) == list(needs.values())
    for tile, need in needs.items():
        assert ledger(need).decode_tile_that_fits(model, side, side, WHOLE) == tile
    assert ledger(0).decode_tile_that_fits(model, side, side, WHOLE) <= LEAST_TILE
    assert ledger(needs[160]).decode_tile_that_fits(model, side, side, 80) == 80


def test_a_small_picture_is_decoded_whole_where_that_fits() -> None:
    model = fresh()
    whole = ledger(0).decode_need(model, 8, 8, WHOLE)
    assert ledger(whole).decode_tile_that_fits(model, 8, 8, WHOLE) == WHOLE
    assert ledger(0).decode_need(replace(model, vae=PixelSpace()), 8, 8, WHOLE) == 0


def test_tiles_do_not_depend_on_the_company() -> None:
    model = fresh()
    need = ledger(0).decode_need(model, 256, 256, 80)
    books = ledger(need)
    books.hold("others", 10 * need)
    assert books.decode_tile_that_fits(model, 256, 256, WHOLE) == 80


def test_a_job_that_can_never_fit_is_refused_with_its_size_and_advice() -> None:
    model = fresh()
    books = ledger(20 * MIB)
    books.check(PARAMS, model)
    with pytest.raises(
        OutOfMemoryError,
        match=r"^one picture of 2048x1536 needs about \d+ MiB beside the model, "
        r"and the device has 20 MiB for it; choose a smaller size\.$",
    ):
        books.check(replace(PARAMS, width=2048, height=1536), model)
    books.hold("others", 20 * MIB)
    books.check(PARAMS, model)


def test_the_second_pass_and_the_first_picture_count() -> None:
    model = fresh()
    alone = ledger(0).least_need(model, PARAMS)
    books = ledger(alone)
    books.check(PARAMS, model)
    with pytest.raises(OutOfMemoryError, match="64x64"):
        books.check(replace(PARAMS, hires=2.0), model)
    # In a model whose autoencoder is large beside its backbone, the picture to start from decides.
    started = replace(PARAMS, init_image="0" * 64, width=512, height=512)
    plain = replace(started, init_image=None)
    assert ledger(0).least_need(model, started) >= ledger(0).least_need(model, plain)


def test_weights_that_never_fit_are_named() -> None:
    model = fresh()
    weights = weight_bytes(model)
    with pytest.raises(
        OutOfMemoryError, match=r"the weights of 'tiny' take .* choose a smaller model"
    ):
        ledger(weights, device=OTHER).check(PARAMS, model)
    ledger(weights + 600 * MIB, device=OTHER).check(PARAMS, model)
    ledger(600 * MIB).check(PARAMS, model)


def test_weights_are_counted_once_and_all_of_them() -> None:
    model = tiny_model()
    assert model.text is not None
    networks = networks_of(model)
    assert networks[:2] == (model.backbone, model.vae)
    assert networks[2:] == (model.text.encoders[0].model,)
    parameters = sum(p.nbytes for network in networks for p in network.parameters())
    buffers = sum(b.nbytes for network in networks for b in network.buffers())
    assert weight_bytes(model) == parameters + buffers
    assert ledger(0).weights(model) == 0, "on a CPU they are mapped files"
    assert ledger(0, device=OTHER).weights(model) == weight_bytes(model)


def test_sizes_and_tiles_for_people_and_machines() -> None:
    assert size_text(int(7.94 * 2**30)) == "7.9 GiB"
    assert (size_text(340 * MIB + 5), size_text(-3)) == ("340 MiB", "0 MiB")
    assert [smaller_tile(tile) for tile in (WHOLE, 80, 40)] == [80, 40, 20]
