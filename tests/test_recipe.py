"""Recipes: found by name or file, run whole, and honest about what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lutra.examples import digits_cnn, digits_mlp
from lutra.frontend.data import Samples
from lutra.frontend.errors import LutraError, ModelError, ToolchainError
from lutra.frontend.graph import evaluate
from lutra.frontend.history import History
from lutra.frontend.layers import Dense
from lutra.frontend.model import Model
from lutra.frontend.ops import Conv, MaxPool, Relu, Softmax
from lutra.frontend.recipe import BUILT_IN, GivenRecipe, Recipe, load_recipe

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_digits_mlp() -> None:
    trained = load_recipe("digits-mlp").run()
    assert trained.test_accuracy is not None
    assert trained.test_accuracy >= 0.96
    test = trained.test
    assert len(test.x) == 360
    y = evaluate(trained.graph, {"x": test.x})["y"]
    assert (y.argmax(-1) == test.y).mean() == trained.test_accuracy
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-5)


def test_digits_cnn() -> None:
    trained = load_recipe("digits-cnn").run()
    assert trained.test_accuracy is not None
    assert trained.test_accuracy >= 0.975
    assert trained.graph.name == "digits-cnn"
    assert trained.graph.inputs[0].shape == (8, 8, 1)
    kinds = {type(node.op) for node in trained.graph.nodes}
    assert {Conv, MaxPool, Relu, Softmax} <= kinds
    assert isinstance(trained.history, History)
    assert trained.history.best is not None


def test_the_split_of_the_digits() -> None:
    """The same for both recipes, fixed, stratified, and in the range that the names promise."""
    mlp, cnn = digits_mlp.load(), digits_cnn.load()
    assert [len(part) for part in mlp] == [1257, 180, 360]
    for a, b in zip(mlp, cnn, strict=True):
        np.testing.assert_array_equal(a.x, b.x.reshape(-1, 64))
        np.testing.assert_array_equal(a.y, b.y)
        assert a.x.min() == 0
        assert a.x.max() == 1
    assert np.bincount(mlp.test.y).min() >= 34
    rows = np.concatenate([part.x for part in mlp])
    assert len(rows) == 1797


def test_a_file_is_the_same_recipe(tmp_path: Path) -> None:
    copied = tmp_path / "mine.py"
    copied.write_text((EXAMPLES / "digits_mlp.py").read_text())
    ours = load_recipe("digits-mlp").run(epochs=2, seed=4)
    theirs = load_recipe(copied).run(epochs=2, seed=4)
    assert ours.history == theirs.history
    for a, b in zip(ours.model.variables, theirs.model.variables, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_given_weights_are_not_trained() -> None:
    recipe = GivenRecipe(
        "given",
        "one dense layer",
        build=lambda: Model([Dense(2)], input_shape=(3,)),
        load=lambda: (Samples(np.zeros((4, 3))), Samples(np.ones((5, 3)))),
    )
    trained = recipe.run()
    assert trained.graph.name == "given"
    assert (len(trained.calibration.x), len(trained.test.x)) == (4, 5)
    assert (trained.test.y, trained.test_accuracy, trained.history) == (None, None, History())
    for what, arguments in (
        ("epochs", {"epochs": 3}),
        ("seed", {"seed": 1}),
        ("resume", {"resume": True}),
    ):
        with pytest.raises(LutraError, match=f"trains nothing.*option {what}"):
            recipe.run(**arguments)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("digits_mlp", ("build", "load", "optimiser")),
        ("digits_gan", ("generator", "discriminator", "load", "optimiser", "judge")),
        ("image_filters", ("build", "load")),
    ],
)
def test_what_fails_in_a_file_is_its_error(
    tmp_path: Path, name: str, places: tuple[str, ...]
) -> None:
    """Whatever kind the recipe is of, and whichever of its functions fails."""
    text = (EXAMPLES / f"{name}.py").read_text()
    line = len(text.splitlines()) + 5
    for place in places:
        path = tmp_path / f"{place}.py"
        path.write_text(
            f"{text}\nimport dataclasses\n\n"
            "def broken(*_):\n    raise ZeroDivisionError\n\n"
            f"recipe = dataclasses.replace(recipe, {place}=broken)\n"
        )
        recipe = load_recipe(path)
        epochs = None if name == "image_filters" else 1
        with pytest.raises(ModelError, match=f"fails at line {line} .*ZeroDivision") as caught:
            recipe.run(epochs=epochs)
        assert caught.value.file == str(path)


def test_a_run_resumes(tmp_path: Path) -> None:
    recipe = load_recipe("digits-mlp")
    path = tmp_path / "run.npz"
    whole = recipe.run(epochs=4, seed=1)
    recipe.run(epochs=2, seed=1, checkpoint=path)
    resumed = recipe.run(epochs=4, seed=1, checkpoint=path, resume=True)
    assert resumed.history == whole.history
    for name, value in whole.graph.constants.items():
        np.testing.assert_array_equal(resumed.graph.constants[name], value)


def test_unknown_names() -> None:
    with pytest.raises(ModelError, match="Did you mean 'digits-cnn'") as caught:
        load_recipe("digit-cnn")
    for name in BUILT_IN:
        assert name in str(caught.value)
    with pytest.raises(ModelError, match="no such recipe"):
        load_recipe("missing.py")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1", "nothing named 'recipe'"),
        ("recipe = 3", "a int"),
        ("x = 1\n1 / 0", "fails at line 2.*ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("raise SystemExit", "SystemExit"),
        ("from lutra.frontend.layers import Dense\nDense(0)", "units must be at least 1"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    before = list(sys.path)
    with pytest.raises(LutraError, match=problem) as caught:
        load_recipe(path)
    assert caught.value.file == str(path)
    assert sys.path == before


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    path = tmp_path / "failing_recipe.py"
    for text in ("1 / 0", "from lutra.frontend.layers import Dense\nDense(0)"):
        path.write_text(text)
        with pytest.raises(LutraError):
            load_recipe(path)
        assert "lutra_recipe_failing_recipe" not in sys.modules


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x07")
    with pytest.raises(ModelError, match="not a Python file"):
        load_recipe(path)


def test_a_recipe_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_the_recipe.py").write_text("from lutra.examples.digits_mlp import recipe")
    (tmp_path / "mine.py").write_text("from beside_the_recipe import recipe")
    assert isinstance(load_recipe(tmp_path / "mine.py"), Recipe)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    recipe = load_recipe("digits-cnn")
    with pytest.raises(ToolchainError, match=r"pip install 'lutra\[examples\]'"):
        recipe.run(epochs=1)
