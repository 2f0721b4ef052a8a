"""Recipes: all that it takes to train one network, under one name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Generic, ParamSpec, TypeVar

from rich.console import Console

from .data import Splits
from .errors import LutraError, ModelError
from .graph import Graph
from .history import History
from .layers import Layer
from .losses import CrossEntropy, Loss
from .model import Model
from .optimisers import Adam, Optimiser
from .tensor import Variable
from .training import accuracy, fit

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

BUILT_IN = {
    "digits-mlp": "lutra.examples.digits_mlp",
    "digits-cnn": "lutra.examples.digits_cnn",
}
"""Recipes that come with Lutra, and their modules."""


@dataclass(frozen=True)
class Trained:
    """What a recipe ends in.

    Attributes:
        model: the trained model, the recipe's head included.
        graph: the same network, ready for export.
        history: every epoch.
        test_accuracy: share of the test set that is classified right; None for no classes.
        data: the datasets that were used.
    """

    model: Model
    graph: Graph
    history: History
    test_accuracy: float | None
    data: Splits


@dataclass(frozen=True)
class Recipe:
    """How one network is built and trained.

    Attributes:
        name: what the network is called.
        description: one line for people.
        build: makes the untrained model from a seed.
        load: gets the training, validation and test data.
        loss: what training makes small.
        optimiser: makes the optimiser for the model's variables.
        epochs: passes over the training data, at most.
        batch_size: samples a step.
        patience: epochs without a better one after which training stops; None for never.
        head: layers that the exported network has at its end and the loss contains already, such
            as ``Softmax()`` with cross entropy.
    """

    name: str
    description: str
    build: Callable[[int], Model]
    load: Callable[[], Splits]
    loss: Loss = field(default_factory=CrossEntropy)
    optimiser: Callable[[Sequence[Variable]], Optimiser] = Adam
    epochs: int = 20
    batch_size: int = 32
    patience: int | None = None
    head: tuple[Layer, ...] = ()

    def run(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        console: Console | None = None,
    ) -> Trained:
        """Train, and judge by the test set.

        Args:
            epochs: instead of the recipe's own number.
            seed: of the start weights, the shuffling and dropout.
            checkpoint, resume, console: as for :func:`lutra.frontend.training.fit`.

        Raises:
            LutraError: data is missing or the run cannot go on; see ``fit``.
        """
        data = self.load()
        model = self.build(seed)
        history = fit(
            model,
            self.loss,
            self.optimiser(model.variables),
            data.train,
            data.validation,
            epochs=self.epochs if epochs is None else epochs,
            batch_size=self.batch_size,
            seed=seed,
            patience=self.patience,
            checkpoint=checkpoint,
            resume=resume,
            console=console,
        )
        model = model.then(*self.head)
        return Trained(model, model.graph(self.name), history, accuracy(model, data.test), data)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Find a recipe.

    Args:
        name_or_path: the name of a built-in recipe, or a Python file that defines ``recipe``.
            The file is run: use only files that you trust.

    Raises:
        ModelError: no such name or file, the file fails, or it defines no recipe.
    """
    text = str(name_or_path)
    if text in BUILT_IN:
        return _recipe_of(importlib.import_module(BUILT_IN[text]), BUILT_IN[text])
    path = Path(name_or_path)
    if not path.is_file():
        raise _unknown(text)
    recipe = _recipe_of(_run_file(path), text)
    return replace(
        recipe,
        build=_Guarded(recipe.build, path),
        load=_Guarded(recipe.load, path),
        optimiser=_Guarded(recipe.optimiser, path),
    )


def _recipe_of(module: ModuleType, file: str) -> Recipe:
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ModelError(
            "the file defines no recipe",
            file=file,
            found="nothing named 'recipe'" if recipe is None else f"a {type(recipe).__name__}",
            expected="recipe = Recipe(...)",
            remedy="Copy examples/digits_mlp.py and change it",
        )
    return recipe


def _unknown(text: str) -> ModelError:
    close = difflib.get_close_matches(text, BUILT_IN, n=1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return ModelError(
        "no such recipe",
        found=text,
        expected=f"{', '.join(BUILT_IN)}, or a Python file",
        remedy=f"{hint}A recipe is the name of a built-in one, or the path of a Python file",
    )


def _run_file(path: Path) -> ModuleType:
    """Run a Python file as a module; modules beside it can be imported, as for a script."""
    name = f"lutra_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(
            "not a Python file", file=str(path), expected="a file whose name ends in .py"
        )
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except LutraError as error:
        del sys.modules[name]
        raise error.in_file(str(path)) from None
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failure(path, error) from error
    finally:
        sys.path.remove(folder)
    return module


def _failure(path: Path, error: BaseException) -> ModelError:
    """What to tell of an error in a recipe's own code."""
    line = next(
        (
            f" at line {frame.lineno}"
            for frame in reversed(traceback.extract_tb(error.__traceback__))
            if Path(frame.filename).resolve() == path.resolve()
        ),
        "",
    )
    return ModelError(
        f"the recipe fails{line}",
        file=str(path),
        found=f"{type(error).__name__}: {error}",
        remedy="Run the file with Python to see where",
    )


@dataclass(frozen=True)
class _Guarded(Generic[Arguments, Value]):
    """A function of a recipe file's; what goes wrong in it is an error of that file's."""

    function: Callable[Arguments, Value]
    path: Path

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        try:
            return self.function(*args, **kwargs)
        except (LutraError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise _failure(self.path, error) from error
