"""The recipes that come with Lutra: each learns, is the same again, and survives quantisation.

What they reach when they are trained to the end is measured by ``python -m tests.bench.accuracy``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lutra.examples import digits_cnn, digits_gan, digits_resnet, image_filters
from lutra.frontend.adversarial import GanRecipe
from lutra.frontend.graph import evaluate
from lutra.frontend.history import AdversarialHistory, History
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.onnx.importer import load
from lutra.frontend.recipe import BUILT_IN, Recipe, Trained, load_recipe
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator
from tests.commands import Run

SHORT = {
    "digits-mlp": 2,
    "digits-cnn": 2,
    "digits-resnet": 1,
    "digits-lstm": 10,
    "digits-gru": 10,
    "digits-attention": 10,
    "digits-attention-multiplicative": 10,
    "digits-transformer": 4,
}
"""Epochs after which a classifier knows most digits."""


@cache
def trained(name: str) -> Trained:
    """The recipe after a few epochs."""
    return load_recipe(name).run(epochs=SHORT[name])


def test_all_recipes_are_tested_here() -> None:
    assert {*SHORT, "digits-gan", "image-filters"} == set(BUILT_IN)
    for name, module in BUILT_IN.items():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description
        assert module == f"lutra.examples.{name.replace('-', '_')}"


@pytest.mark.parametrize("name", SHORT)
def test_a_classifier_learns(name: str) -> None:
    result = trained(name)
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.6
    assert isinstance(result.history, History)
    assert len(result.history.epochs) == SHORT[name]
    assert result.graph.name == name
    assert result.graph.outputs[0].shape == (10,)
    assert result.test.x.shape == (360, *result.graph.inputs[0].shape)
    assert sum(constant.size for constant in result.graph.constants.values()) < 25_000


@pytest.mark.parametrize("name", SHORT)
def test_a_classifier_survives_quantisation(name: str, tmp_path: Path) -> None:
    """At 8 and at 16 bits, on the way that a user takes: through an ONNX file."""
    result = trained(name)
    save(result.graph, tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx")
    for bits, worst in ((16, 0.01), (8, 0.03)):
        formats = calibrate(graph, Settings.uniform(bits), result.calibration.x)
        answers = Simulator(lower(graph, formats)).predict(result.test.x).argmax(-1)
        assert (answers == result.test.y).mean() >= (result.test_accuracy or 0) - worst


@pytest.mark.parametrize("name", SHORT)
def test_the_same_seed_gives_the_same_classifier(name: str) -> None:
    """To the bit; another seed gives another one."""
    recipe = load_recipe(name)
    assert isinstance(recipe, Recipe)
    starts = [recipe.build(seed).weights for seed in (3, 3, 4)]
    first = next(iter(starts[0]))
    for key, value in starts[0].items():
        np.testing.assert_array_equal(value, starts[1][key])
    assert not np.array_equal(starts[0][first], starts[2][first])
    if name in ("digits-gru", "digits-transformer"):
        again = recipe.run(epochs=SHORT[name]).graph.constants
        for key, value in trained(name).graph.constants.items():
            np.testing.assert_array_equal(value, again[key])


def test_moved_images() -> None:
    """The residual network's training images: each as it is, and moved by a pixel each way."""
    still = digits_cnn.load().train
    moved = digits_resnet.load().train
    count = len(still)
    assert len(moved) == 5 * count
    np.testing.assert_array_equal(moved.y, np.tile(still.y, 5))
    parts = np.split(moved.x, 5)
    np.testing.assert_array_equal(parts[0], still.x)
    np.testing.assert_array_equal(parts[1][:, :-1], still.x[:, 1:])
    np.testing.assert_array_equal(parts[2][:, 1:], still.x[:, :-1])
    np.testing.assert_array_equal(parts[3][:, :, :-1], still.x[:, :, 1:])
    np.testing.assert_array_equal(parts[4][:, :, 1:], still.x[:, :, :-1])
    edges = [parts[1][:, -1], parts[2][:, 0], parts[3][:, :, -1], parts[4][:, :, 0]]
    assert not any(edge.any() for edge in edges)


@pytest.fixture(scope="module")
def classifier() -> Model:
    """The judge of generated digits, trained for long enough to be sure of most real ones."""
    model = digits_cnn.recipe.run(epochs=15).model
    data = digits_cnn.load().test
    assert (model.predict(data.x).max(-1) > digits_gan.SURE).mean() > 0.8
    return model


def test_the_generator_learns(classifier: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few epochs far more digits are recognised than before; 16 bits cost next to none."""
    monkeypatch.setattr(digits_gan, "classifier", lambda: classifier)
    recipe = load_recipe("digits-gan")
    assert isinstance(recipe, GanRecipe)
    result = recipe.run(epochs=8)
    assert isinstance(result.history, AdversarialHistory)
    assert result.graph.outputs[0].shape == (8, 8, 1)
    assert result.test.x.shape == (1000, 26)
    asked = result.test.x[:, :10].argmax(-1)
    before = digits_gan.recognise(digits_gan.generator(0).predict(result.test.x), asked)
    images = evaluate(result.graph, {"x": result.test.x})["y"]
    after = digits_gan.recognise(images, asked)
    assert 0 <= images.min() <= images.max() <= 1
    assert before.share < 0.1
    assert after.share > 0.3
    assert len(after.digits) >= 8
    assert result.remarks[0].endswith(f"asked for: {after.share:.1%}")
    assert result.remarks[1] == f"digits among them: {', '.join(map(str, after.digits))}"
    formats = calibrate(result.graph, Settings.uniform(16), result.calibration.x)
    fixed = Simulator(lower(result.graph, formats)).predict(result.test.x)
    assert abs(digits_gan.recognise(fixed, asked).share - after.share) <= 0.01


def test_recognition_counts_sure_and_right_answers(
    classifier: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits_gan, "classifier", lambda: classifier)
    data = digits_cnn.load().test
    real = digits_gan.recognise(data.x, data.y)
    assert 0.7 < real.share <= (classifier.predict(data.x).max(-1) > digits_gan.SURE).mean()
    assert real.digits == tuple(range(10))
    wrong = digits_gan.recognise(data.x, (data.y + 1) % 10)
    assert wrong.share < 0.02


def test_filters_are_what_their_names_say() -> None:
    """On a bright square before a dark ground, and on a real photograph against slices of it."""
    result = load_recipe("image-filters").run()
    model, x = result.model, result.test.x
    assert x.shape[1:] == (64, 96, 1)
    assert len(result.calibration.x) == len(x)
    assert 0 <= x.min() < 0.2 < 0.8 < x.max() <= 1
    square = np.zeros((1, 64, 96, 1), np.float32)
    square[:, 20:40, 30:60] = 1
    blur, sharp, right, down, second = np.moveaxis(model.predict(square)[0], -1, 0)
    assert blur.sum() == pytest.approx(square.sum())
    assert 0 < blur[18, 45] < 0.5 < blur[20, 45] < 1
    np.testing.assert_allclose([sharp[30, 45], sharp[20, 45], sharp[19, 45]], [1, 1.25, -0.25])
    assert (right[30, 30], right[30, 45], right[30, 60]) == (0.5, 0, -0.5)
    assert (down[20, 45], down[30, 45], down[40, 45]) == (0.5, 0, -0.5)
    assert (second[20, 45], second[30, 45], second[19, 45]) == (-0.25, 0, 0.25)

    frame, channels = x[0, ..., 0], model.predict(x[:1])[0]
    for k, (name, kernel) in enumerate(image_filters.KERNELS.items()):
        half = len(kernel) // 2
        windows = np.lib.stride_tricks.sliding_window_view(frame, kernel.shape)
        inner = channels[half : 64 - half, half : 96 - half, k]
        expected = (windows * kernel).sum(axis=(2, 3))
        np.testing.assert_allclose(inner, expected, atol=1e-5, err_msg=name)


def test_filters_in_fixed_point() -> None:
    """8 bits hold the kernels, so that rounding the pixels and the results is all that they cost,
    but where sharpening goes beyond white."""
    result = load_recipe("image-filters").run()
    exact = evaluate(result.graph, {"x": result.test.x})["y"]
    formats = calibrate(result.graph, Settings(), result.calibration.x)
    found = Simulator(lower(result.graph, formats)).predict(result.test.x)
    gain = np.abs(result.graph.constants["conv1.weight"]).sum(axis=(0, 1, 2)).max()
    bound = gain * 2**-9 + 2**-8  # half a step of the pixels, and half a step of the results
    assert np.abs(found - np.clip(exact, -1, 1 - 2**-7)).max() <= bound


def test_a_script_runs_by_itself(tmp_path: Path) -> None:
    """As a user runs it, in a folder of their own; the picture and the model are there."""
    script = Path(__file__).parent.parent / "examples" / "image_filters.py"
    (tmp_path / "mine.py").write_text(script.read_text())
    done = subprocess.run(
        [sys.executable, "mine.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = "wrote image-filters.onnx and image-filters.png\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert (tmp_path / "image-filters.png").read_bytes().startswith(b"\x89PNG")
    assert load(tmp_path / "image-filters.onnx").outputs[0].shape == (64, 96, 5)


def test_a_picture_of_generated_digits(tmp_path: Path) -> None:
    digits_gan.draw(digits_gan.generator(0), tmp_path / "digits.png")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_the_command(lutra: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of recipe: what is printed and written, --resume, and what makes no sense."""
    monkeypatch.setattr(digits_gan, "classifier", lambda: digits_cnn.build(0))
    outcome = lutra("train", "digits-gan", "-o", "g.onnx", "--epochs", "1", "--seed", "5")
    assert outcome.status == 0, outcome
    assert "epoch 1/1  generator loss " in outcome.out
    assert "recognised with more than 90% confidence" in outcome.out
    once = load(folder / "g.onnx").constants
    assert lutra("train", "digits-gan", "-o", "g.onnx", "--epochs", "1", "--resume").status == 2
    more = ("train", "digits-gan", "-o", "g.onnx", "--epochs", "2", "--seed", "5", "--resume")
    outcome = lutra(*more, "--data-out", "d")
    assert outcome.status == 0, outcome
    assert "resuming after epoch 1" in outcome.out
    twice = load(folder / "g.onnx").constants
    assert any(not np.array_equal(once[name], twice[name]) for name in once)
    for name in ("calibration", "test"):
        with np.load(folder / "d" / f"{name}.npz") as data:
            assert {key: data[key].shape for key in data} == {"x": (1000, 26)}

    assert lutra("train", "image-filters", "-o", "f.onnx", "--data-out", "d").status == 0
    assert not (folder / "f.onnx.checkpoint.npz").exists()
    outcome = lutra("train", "image-filters", "-o", "f.onnx", "--epochs", "2")
    assert outcome.status == 2
    assert "image-filters trains nothing: its weights are given (found the option epochs)" in (
        outcome.err
    )


def test_without_pillow(monkeypatch: pytest.MonkeyPatch, lutra: Run, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    outcome = lutra("train", "image-filters", "-o", "f.onnx")
    assert outcome.status == 2
    assert "pip install 'lutra[examples]'" in outcome.err
    assert not (folder / "f.onnx").exists()
