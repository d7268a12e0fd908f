"""`easel bench`'s commands, each at the smallest size: what is printed, written, and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bot.bench_cli import bench
from diffusion.bench import child, solo, switch

TINY = ("--model", "tiny-sd15", "--rounds", "1")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer in this process: starting another takes longer than everything else."""

    def peak(what: str, question: dict[str, Any]) -> dict[str, float]:
        # A process that has worked before may need no more memory at all.
        return {"peak": 1 + child.answer(what, question)["peak"]}

    monkeypatch.setattr(solo, "ask", peak)
    monkeypatch.setattr(switch, "ask", child.answer)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(bench, arguments, env={"COLUMNS": "200"})


def measured(*arguments: str) -> dict[str, Any]:
    """Run a command to its end; return what its last line says."""
    done = run(*arguments)
    if done.exception is not None:
        raise done.exception
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["figures"] and found["command"].startswith(f"easel bench {arguments[0]} ")
    return found


def medians(found: dict[str, Any]) -> dict[str, float]:
    return {figure["name"]: figure["median"] for figure in found["figures"]}


def test_solo(tmp_path: Path) -> None:
    out = tmp_path / "solo.md"
    found = measured("solo", *TINY, "--steps", "2", "--sampler", "euler", "--out", str(out))
    figures = medians(found)
    assert figures["speed, Easel / diffusers"] > 0
    assert figures["mean difference of the pictures"] < 1
    assert figures["peak memory, Easel / diffusers"] > 0
    assert found["facts"]["rows"] == 8 and found["facts"]["latent"] == 8
    page = out.read_text(encoding="utf-8")
    assert page.count("\n| tiny-sd15: ") == len(figures)
    assert found["machine"] in page and found["date"] in page


@pytest.mark.slow
def test_load() -> None:
    arguments = ("--rate", "0.7", "--seconds", "0.5", "--shrink", "30")
    found = measured("load", *TINY, *arguments)
    facts, figures = found["facts"], medians(found)
    assert len(facts["solo_seconds"]) == 12 and min(facts["solo_seconds"].values()) > 0
    assert facts["capacity_jobs_per_second"] > 0
    jobs, pictures = facts["jobs"]["0.7"], facts["pictures"]["0.7"]
    assert set(jobs) == {"Easel", "one at a time", "diffusers"}
    for counts in (jobs, pictures):
        assert counts["Easel"] == counts["one at a time"] == counts["diffusers"]
    for side in jobs:
        p50, p95, p99 = (figures[f"70% load, {side}: grid p{share}"] for share in (50, 95, 99))
        assert 0 < p50 <= p95 <= p99
        assert figures[f"70% load, {side}: first preview p50"] > 0


def test_rows() -> None:
    found = measured("rows", *TINY, "--most", "4")
    figures, facts = medians(found), found["facts"]
    assert list(facts["row_seconds"]) == ["1", "2", "4"]
    assert facts["row_flops"] > 1e6 and min(facts["matrix_flops_per_second"]) > 0
    for size in (1, 2, 4):
        assert 0 < figures[f"share of the matrix rate, batch of {size}"] < 200
    assert figures["row time in a batch of 4"] > 0


@pytest.mark.slow
def test_tick() -> None:
    found = measured("tick", *TINY, "--steps", "5")
    figures = medians(found)
    assert 0 < figures["overhead of a tick outside the network"] < 100
    assert figures["event loop lag p99 while painting, of an idle loop's"] > 0
    assert figures["throughput in strict mode, of fast mode's"] > 0
    assert figures["a preview at every step, of the time between two"] > 0
    assert figures["throughput with 8 different LoRAs, of none"] > 0
    assert found["facts"]["steps"] == 5


@pytest.mark.slow
def test_switch() -> None:
    found = measured("switch", *TINY)
    figures, facts = medians(found), found["facts"]
    assert set(facts["loads"]) == {"Easel", "diffusers, folder", "diffusers, single"}
    for loads in facts["loads"].values():
        assert len(loads) == 1 and 0 < loads[0]["load"] <= loads[0]["seconds"]
    assert facts["weights"] > 1e6
    for peer in ("diffusers, folder", "diffusers, single"):
        assert figures[f"cold start to the first tick, Easel / {peer}"] > 0


REFUSED = {
    "no such model": (("rows", "--model", "emojj"), "did you mean 'emoji'?"),
    "no such device": (("rows", "--device", "toaster"), "there are auto, cpu, cuda"),
    "an odd size": (("rows", "--latent", "3", "--model", "tiny-sd15"), "takes multiples of"),
    "no such sampler": (("solo", "--sampler", "heun"), "there are dpmpp_2m, euler, ddim"),
    "no rate": (("load", "--rate", "0"), "shares of the capacity"),
    "one size": (("load", "--model", "tiny-sd15", "--latent", "4"), "two sizes need a side of"),
    "no single file": (("switch", "--model", "tiny-sdxl"), "has no single file here"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_one_sentence(case: str) -> None:
    arguments, sentence = REFUSED[case]
    done = run(*arguments)
    assert done.exit_code == 78 and done.stdout == ""
    assert sentence in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_all_five(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[Path | None] = []
    monkeypatch.setattr("bot.bench_cli.show", lambda measure, out: written.append(out))
    folder = tmp_path / "results"
    assert run("all", "--out", str(folder)).exit_code == 0 and folder.is_dir()
    names = ("solo", "rows", "tick", "load", "switch")
    assert written == [folder / f"{name}.md" for name in names]
    written.clear()
    assert run("all").exit_code == 0
    assert written == [None] * 5


def test_options_that_are_none() -> None:
    assert run("load", "--rate", "half").exit_code == 2
    assert run("rows", "--out", "/nowhere/at/all.md").exit_code == 2


def test_without_a_command_the_bot_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from bot import bench as figures

    async def one() -> list[figures.Figure]:
        return [figures.Figure(name="commit of a job", value="1.0 ms", count=3)]

    for name in ("measure_start", "measure_store", "measure_bot"):
        monkeypatch.setattr(figures, name, one)
    monkeypatch.setattr("bot.logs.configure", lambda **_: None)
    done = run()
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["commit of a job: 1.0 ms (n = 3)"] * 3
