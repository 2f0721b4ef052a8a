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
from typing import ParamSpec, Protocol, Self, TypeVar, runtime_checkable

from rich.console import Console

from .data import Samples, Splits
from .errors import LutraError, ModelError
from .graph import Graph
from .history import AdversarialHistory, History
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
    "digits-resnet": "lutra.examples.digits_resnet",
    "digits-lstm": "lutra.examples.digits_lstm",
    "digits-gru": "lutra.examples.digits_gru",
    "digits-attention": "lutra.examples.digits_attention",
    "digits-attention-multiplicative": "lutra.examples.digits_attention_multiplicative",
    "digits-transformer": "lutra.examples.digits_transformer",
    "digits-gan": "lutra.examples.digits_gan",
    "image-filters": "lutra.examples.image_filters",
}
"""Recipes that come with Lutra, and their modules."""


@dataclass(frozen=True)
class Trained:
    """What a recipe ends in.

    Attributes:
        model: the trained model, the recipe's head included.
        graph: the same network, ready for export.
        history: every epoch.
        calibration: samples to choose fixed-point formats from.
        test: samples to judge by, which it was not trained on.
        test_accuracy: share of the test samples that are classified right; None for no classes.
        remarks: how else it was judged, in lines for people.
    """

    model: Model
    graph: Graph
    history: History | AdversarialHistory
    calibration: Samples
    test: Samples
    test_accuracy: float | None = None
    remarks: tuple[str, ...] = ()


@runtime_checkable
class AnyRecipe(Protocol):
    """How one network comes about: what ``lutra train`` needs of a recipe.

    Attributes:
        name: what the network is called.
        description: one line for people.
        load: gets the data.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def load(self) -> Callable[[], object]: ...

    def run(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        console: Console | None = None,
    ) -> Trained:
        """Make the network, and judge it.

        Args:
            epochs: instead of the recipe's own number.
            seed: of all that is drawn at random.
            checkpoint, resume, console: as for :func:`lutra.frontend.training.fit`.

        Raises:
            LutraError: data is missing, the run cannot go on (see ``fit``), or this kind of recipe
                cannot make sense of an argument.
        """

    def guarded(self, guard: Guard) -> Self:
        """The same recipe, with the guard around each function that its file defines."""


@dataclass(frozen=True)
class Recipe:
    """How one network is built, and trained on samples with targets.

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
        """Train, and judge by the test set; see :class:`AnyRecipe`."""
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
        return Trained(
            model,
            model.graph(self.name),
            history,
            calibration=Samples(data.train.x, data.train.y),
            test=Samples(data.test.x, data.test.y),
            test_accuracy=accuracy(model, data.test),
        )

    def guarded(self, guard: Guard) -> Recipe:
        return replace(
            self,
            build=guard(self.build),
            load=guard(self.load),
            optimiser=guard(self.optimiser),
        )


@dataclass(frozen=True)
class GivenRecipe:
    """How a network is built whose weights are known; nothing is trained.

    Attributes:
        name: what the network is called.
        description: one line for people.
        build: makes the model with its weights.
        load: gets samples to choose formats from, and others to judge by.
    """

    name: str
    description: str
    build: Callable[[], Model]
    load: Callable[[], tuple[Samples, Samples]]

    def run(
        self,
        *,
        epochs: int | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        console: Console | None = None,
    ) -> Trained:
        """Build the network; the checkpoint and the console are not needed.

        Raises:
            LutraError: data is missing, or an argument is for training.
        """
        for what, used in (("epochs", epochs is not None), ("seed", seed != 0), ("resume", resume)):
            if used:
                raise LutraError(
                    f"the recipe {self.name} trains nothing: its weights are given",
                    found=f"the option {what}",
                    remedy=f"Leave out {what}",
                )
        calibration, test = self.load()
        model = self.build()
        return Trained(model, model.graph(self.name), History(), calibration, test)

    def guarded(self, guard: Guard) -> GivenRecipe:
        return replace(self, build=guard(self.build), load=guard(self.load))


def load_recipe(name_or_path: str | Path) -> AnyRecipe:
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
    return _recipe_of(_run_file(path), text).guarded(Guard(path))


def _recipe_of(module: ModuleType, file: str) -> AnyRecipe:
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, AnyRecipe):
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
class Guard:
    """Put around functions of a recipe file: what goes wrong in them is an error of that file's."""

    path: Path

    def __call__(self, function: Callable[Arguments, Value]) -> Callable[Arguments, Value]:
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
            try:
                return function(*args, **kwargs)
            except (LutraError, MemoryError):
                raise
            except (Exception, SystemExit) as error:
                raise _failure(self.path, error) from error

        return guarded
