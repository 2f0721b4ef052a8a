"""``lutra estimate`` and what projects keep of it, as a user meets them."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutra.frontend.graph import Graph
from lutra.frontend.onnx.exporter import save
from lutra.hls_templates.folding import Fold, Folding, load_folding
from lutra.hls_templates.hardware.estimate import estimate
from lutra.hls_templates.hardware.figures import KINDS, time_text
from lutra.hls_templates.hardware.fold_file import fold_file
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.planner import plan
from lutra.quantize.fixed_onnx import FixedModel

from .commands import Run
from .quantised_graphs import Quantised

Refused = Callable[..., str]

KV260 = Target(find_part("KV260"), 5.0)
RESNET8 = "resnet8_a8w8b16.onnx"


def asked(lutra: Run, *arguments: str | Path) -> Any:
    outcome = lutra("estimate", *arguments, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def test_tables_fit_a_terminal_and_say_what_they_are(lutra: Run, here: Path) -> None:
    outcome = lutra("estimate", "f.onnx", "--part", "kv260", "--ranges", "--fifos", "--processes")
    assert outcome.status == 0
    assert all(len(line) <= 80 for line in outcome.out.splitlines())
    for text in (
        "Estimate: small on xck26-sfvc784-2LV-c at 5 ns",
        "all figures are estimates",
        "frames/s, one each",
        "Ranges",
        "FIFOs",
        "Processes",
    ):
        assert text in outcome.out
    for layer in ("conv", "pool", "dense", "softmax"):
        assert f" {layer} " in outcome.out


def test_figures_add_up(lutra: Run, here: Path) -> None:
    found = asked(lutra, "f.onnx", "--part", "KV260")
    parts = [*found["processes"], *found["fifos"]]
    for kind in KINDS:
        ends = [part["resources"][kind] for part in parts]
        assert np.sum(ends, axis=0).tolist() == found["resources"][kind]
    assert found["interval"] == max(process["period"] for process in found["processes"])
    assert found["latency"] >= found["interval"] / 2
    assert found["frames_a_second"] == pytest.approx(1e9 / (5 * found["interval"]))
    assert found["latency_us"] == pytest.approx(found["latency"] * 0.005)
    slowest = {process["name"]: process["period"] for process in found["processes"]}
    assert slowest[found["bottleneck"]] == found["interval"]


def test_a_folding_is_written_read_and_edited(lutra: Run, here: Path) -> None:
    slow = asked(lutra, "f.onnx")
    fps = 4 * slow["frames_a_second"]
    found = asked(lutra, "f.onnx", "--fps", str(fps), "-o", "fold.toml")
    assert found["frames_a_second"] >= fps
    assert asked(lutra, "f.onnx", "--fold", "fold.toml") == found
    assert tomllib.loads(Path("fold.toml").read_text())["layers"] == found["folding"]
    text = Path("fold.toml").read_text().replace('multiply = "packed"', 'multiply = "dsp"')
    Path("fold.toml").write_text(text.replace(f"pe = {found['folding']['conv']['pe']}", "pe = 1"))
    edited = asked(lutra, "f.onnx", "--fold", "fold.toml")
    assert edited["folding"]["conv"]["pe"] == 1
    assert edited["interval"] > found["interval"]


def test_a_project_has_the_folding_that_was_estimated(lutra: Run, here: Path) -> None:
    wishes = ["--part", "KV260", "--latency", "20", "--use", "50%"]
    found = asked(lutra, "f.onnx", *wishes)
    assert found["latency_us"] <= 20
    assert lutra("generate", "f.onnx", "-o", "q", *wishes).status == 0
    manifest = json.loads(Path("q/manifest.json").read_text())
    assert manifest["folding"] == found.pop("folding")
    assert manifest["estimate"] == found
    names = [process["name"] for process in manifest["processes"]]
    assert [process["name"] for process in found["processes"]] == names
    assert f"| latency | {found['latency']:,} cycles" in Path("q/README.md").read_text()
    again = ["-o", "r", "--part", "KV260", "--fold", "q/fold.toml"]
    assert lutra("generate", "f.onnx", *again).status == 0
    for path in ("src/nn_top.cpp", "src/nn_layers.h", "fold.toml", "manifest.json"):
        assert Path("q", path).read_text() == Path("r", path).read_text()


def test_a_parallel_design_is_estimated(lutra: Run, here: Path) -> None:
    found = asked(lutra, "f.onnx", "--parallel")
    assert found["interval"] == 1
    assert found["folding"] == {}


def test_any_layer_can_stand_in_the_file(tmp_path: Path, fixed_cnn: FixedModel) -> None:
    graph = fixed_cnn.fixed
    names = dict(zip(dict.fromkeys(graph.layers.values()), HOSTILE, strict=False))
    renamed = replace(graph, layers={node: names[name] for node, name in graph.layers.items()})
    folding = Folding({name: Fold() for name in names.values()})
    found = estimate(plan(renamed, folding), folding, KV260)
    path = tmp_path / "fold.toml"
    path.write_text(fold_file(found), encoding="utf-8")
    assert load_folding(path).layers == {layer.layer: layer.fold for layer in found.folded()}
    assert set(load_folding(path).layers) <= set(folding.layers)
    assert len(load_folding(path).layers) == 4


HOSTILE = (
    'a"b\\c',
    "line\nbreak\x00\x1b[31m\x7f",
    "[layers.x]\npe = 9",
    "ünï\u2028\U0001f600 = 'x'",
    "",
    "six",
)


# What it cannot do


def test_a_model_with_open_formats_is_sent_to_quantize(refused: Refused) -> None:
    problem = refused("estimate", "m.onnx")
    assert "m.onnx: is a float model, whose formats are still open" in problem
    assert "lutra quantize m.onnx" in problem


def test_a_model_that_says_all_its_formats_needs_no_data(lutra: Run, here: Path) -> None:
    save(quantised(), here / "q.onnx")
    assert asked(lutra, "q.onnx")["interval"] > 0


def quantised() -> Graph:
    network = Quantised((6,))
    dense = network.dense("d", network.quantize("a", "x", 1 / 16), (6, 4), 1 / 8)
    network.quantize("b", dense, 1 / 4)
    return network.graph()


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["--fps", "1e9"], ["no folding is so fast", "frames/s at most", "node '"]),
        (["--latency", "0.001"], ["no folding has so short a latency", "us at best"]),
        (["--fps", "0"], ["frames a second must be above 0"]),
        (["--fps", "nan"], ["frames a second must be above 0"]),
        (["--latency", "-3"], ["a latency must be above 0"]),
        (["--use", "0"], ["not a share of the part", "70%"]),
        (["--use", "seventy"], ["not a share of the part", "seventy"]),
        (["--use", "1%", "--part", "xc7a35t"], ["there are too few", "one multiplier a layer"]),
        (["--part", "KV26"], ["KV260"]),
        (["--fold", "no.toml"], ["no.toml: cannot be read"]),
        (["--fold", "typo.toml"], ["no layer 'conf'", "Did you mean 'conv'?"]),
        (["--fold", "three.toml"], ["three.toml", "node 'conv'", "found pe 3", "one of 1, 2, 4"]),
        (["-o", "f.onnx"], ["f.onnx"]),
        (["-o", "no/fold.toml"], ["no/fold.toml"]),
    ],
)
def test_what_is_refused(
    refused: Refused, here: Path, arguments: list[str], problems: list[str]
) -> None:
    (here / "typo.toml").write_text("[layers.conf]\npe = 2\n")
    (here / "three.toml").write_text("[layers.conv]\npe = 3\n")
    problem = refused("estimate", "f.onnx", *arguments)
    for text in problems:
        assert text in problem


@pytest.mark.parametrize("command", ["estimate f.onnx", "generate f.onnx -o q"])
@pytest.mark.parametrize("wish", ["--fps", "--latency", "--use"])
def test_a_folding_and_a_wish_for_one_exclude_each_other(
    lutra: Run, here: Path, command: str, wish: str
) -> None:
    Path("fold.toml").write_text("")
    outcome = lutra(*command.split(), "--fold", "fold.toml", wish, "50")
    assert outcome.status == 2
    assert f"{wish} asks for a folding, and --fold gives one" in outcome.err
    assert not Path("q").exists()


def test_a_parallel_design_has_no_folding_to_choose(lutra: Run, here: Path) -> None:
    outcome = lutra("estimate", "f.onnx", "--parallel", "--use", "50%")
    assert outcome.status == 2
    assert "--use asks for a folding, and --parallel leaves none" in outcome.err


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is unset")
def test_resnet8_runs_at_30000_frames_a_second_on_a_kv260(lutra: Run, folder: Path) -> None:
    model = Path(os.environ["LUTRA_MODEL_DIR"]) / RESNET8
    found = asked(lutra, model, "--part", "KV260", "--clock", "5", "--fps", "30000")
    assert found["frames_a_second"] >= 30000
    for kind in KINDS:
        assert found["resources"][kind][1] <= 0.9 * found["available"][kind]


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0.085, "85 ns"),
        (0.99999, "1 us"),
        (48.8, "48.8 us"),
        (16269.48, "16.27 ms"),
        (3e9, "3,000 s"),
    ],
)
def test_times_are_told_in_units_that_suit_them(us: float, text: str) -> None:
    assert time_text(us) == text
