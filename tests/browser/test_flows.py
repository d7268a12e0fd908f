"""The flows that are photographed can be walked to their ends, with the shipped model."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from tests.browser.conftest import NAMES
from tests.browser.flows import FLOWS, SCREEN, Stage, open_stage, photograph

pytestmark = pytest.mark.asyncio(loop_scope="module")

# These stand for all in the default suite: a picture, a modal, a refusal.
QUICK = ("01-imagine", "07-remix", "14-mistake")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One demo for all flows."""
    if not any(map(shutil.which, NAMES)):
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    async with open_stage(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FLOWS],
)
async def test_a_flow_ends_with_its_picture(name: str, stage: Stage, tmp_path: Path) -> None:
    with Image.open(await photograph(stage, name, tmp_path)) as shot:
        assert shot.size == (SCREEN["width"], SCREEN["height"])
        assert len(shot.convert("RGB").getcolors(2**24) or []) > 100
