"""Writes the ONNX files of ``tests/models/sklearn``: networks of scikit-learn, by skl2onnx.

    python -m tests.interop.export_sklearn [NAME ...]

needs scikit-learn and skl2onnx.  The files that are checked in were written with scikit-learn
1.9.1, skl2onnx 1.20.0 and onnx 1.23.2.  Beside a model, NAME.npz holds three samples 'x' and what
scikit-learn gives for them, 'y': probabilities, or predictions.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

FOLDER = Path(__file__).parent.parent / "models" / "sklearn"

FEATURES = 6

SAMPLES = 3


def classifier(**options: Any) -> Any:
    return MLPClassifier(hidden_layer_sizes=(8,), max_iter=40, random_state=0, **options)


def regressor(**options: Any) -> Any:
    return MLPRegressor(hidden_layer_sizes=(8, 6), max_iter=40, random_state=0, **options)


CASES: dict[str, tuple[Any, str, bool, int]] = {
    "classes": (classifier(), "classes", True, 18),
    "two_classes": (classifier(activation="tanh"), "two", False, 17),
    "logistic": (classifier(activation="logistic"), "classes", True, 15),
    "regression": (regressor(), "one", True, 18),
    "linear": (regressor(activation="identity"), "one", True, 13),
    "standard": (make_pipeline(StandardScaler(), classifier()), "classes", True, 18),
    "minmax": (make_pipeline(MinMaxScaler(), regressor()), "one", True, 17),
    "principal": (make_pipeline(MaxAbsScaler(), PCA(4), regressor()), "one", True, 18),
    "robust": (make_pipeline(RobustScaler(), classifier(activation="tanh")), "two", True, 18),
    "rows": (make_pipeline(Normalizer(), regressor()), "one", True, 18),
}
"""For each: what is trained, on which targets, with ZipMap as is the default, and the opset."""


def targets(kind: str, x: Any, rng: np.random.Generator) -> Any:
    match kind:
        case "classes":
            return (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
        case "two":
            return x[:, 0] + x[:, 1] > 0
        case _:
            return np.sin(x[:, 0]) + x @ rng.normal(size=FEATURES)


def write(name: str) -> None:
    estimator, kind, maps, opset = CASES[name]
    rng = np.random.default_rng(len(name))
    x = rng.normal(1, 2, size=(200, FEATURES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not trained to the end
        estimator.fit(x, targets(kind, x, rng))
    model = skl2onnx.to_onnx(
        estimator,
        initial_types=[("x", FloatTensorType([None, FEATURES]))],
        options=None if maps else {id(estimator): {"zipmap": False}},
        target_opset=opset,
    )
    x = x[:SAMPLES].astype(np.float32)
    if hasattr(estimator, "predict_proba"):
        y = estimator.predict_proba(x)
    else:
        y = estimator.predict(x).reshape(SAMPLES, -1)
    onnx.save(model, FOLDER / f"{name}.onnx")
    np.savez_compressed(FOLDER / f"{name}.npz", x=x, y=y.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases to write; all of them by default")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in parser.parse_args().names or CASES:
        write(name)


if __name__ == "__main__":
    main()
