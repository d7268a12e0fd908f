"""A folder's own safety checker: loaded with the model, and heard on the last step."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusion import Params, generate, load_model
from tests.parity.pipelines import system
from tests.parity.test_safety import pair

PARAMS = Params(prompt="a red fox", seed=3, steps=2, width=64, height=64, images=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion 1 with a safety checker beside its other parts."""
    target = tmp_path_factory.mktemp("guarded") / "model"
    shutil.copytree(system("sd1").folder, target)
    _, peer = pair()
    peer.save_pretrained(target / "safety_checker", safe_serialization=True)
    index = target / "model_index.json"
    listed = json.loads(index.read_text(encoding="utf-8"))
    listed["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index.write_text(json.dumps(listed), encoding="utf-8")
    return target


@pytest.mark.parametrize(("threshold", "objects"), [(-2.0, True), (2.0, False)])
def test_the_last_step_says_what_it_objects_to(
    folder: Path, threshold: float, objects: bool
) -> None:
    model = load_model(folder)
    assert model.safety is not None
    # Cosines lie between -1 and 1, so every picture is above the one and below the other.
    weights = torch.full_like(model.safety.get_parameter("concept_embeds_weights"), threshold)
    model.safety.get_parameter("concept_embeds_weights").data.copy_(weights)
    steps = list(generate(model, PARAMS))
    assert [step.flagged for step in steps[:-1]] == [()] * (len(steps) - 1)
    assert steps[-1].flagged == (objects, objects)
    assert steps[-1].pictures is not None


def test_its_weights_are_the_folders(folder: Path) -> None:
    model = load_model(folder)
    assert model.safety is not None
    _, peer = pair()
    stored = {name.rsplit("vision_model.", 1)[-1]: t for name, t in peer.state_dict().items()}
    for name, parameter in model.safety.named_parameters():
        assert torch.equal(parameter, stored[name.rsplit("vision_model.", 1)[-1]]), name


def test_a_model_without_one_flags_nothing() -> None:
    model = load_model(system("sd1").folder)
    assert model.safety is None
    *_, last = generate(model, replace(PARAMS, images=1))
    assert last.flagged == ()
