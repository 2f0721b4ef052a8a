"""Writes the ONNX files of ``tests/models/keras``: networks of Keras, by way of tf2onnx.

    python -m tests.interop.export_keras [NAME ...]

needs tensorflow, keras and tf2onnx.  The files that are checked in were written with
tensorflow-cpu 2.21.0, keras 3.15.1, tf2onnx 1.17.0 and onnx 1.23.2.  Beside a model, NAME.npz holds
three samples 'x' and what Keras gives for them, 'y'.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keras import layers as kl

FOLDER = Path(__file__).parent.parent / "models" / "keras"

OPSETS = (13, 15, 17, 18)

SAMPLES = 3

Build = Callable[[Any], Any]
"""The network's result for its input."""


def mlp(x: Any) -> Any:
    x = kl.BatchNormalization()(kl.Dense(8, activation="relu")(x))
    x = kl.Dropout(0.3)(kl.LeakyReLU(0.2)(kl.Dense(6)(x)))
    return kl.Dense(3, activation="softmax")(x)


def prepared(x: Any) -> Any:
    """Preprocessing as layers of the network."""
    x = kl.Rescaling(1 / 4, offset=-0.5)(x)
    x = kl.Normalization(mean=[0.5, 0.1, -0.2], variance=[2.0, 0.5, 1.0])(x)
    return kl.Dense(2, activation="tanh")(kl.Flatten()(kl.Conv2D(4, 3)(x)))


def cnn(x: Any) -> Any:
    x = kl.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    x = kl.ReLU(max_value=6)(kl.BatchNormalization()(x))
    x = kl.AveragePooling2D(2, padding="same")(kl.Conv2D(6, 2, dilation_rate=2)(x))
    return kl.Dense(4, activation="sigmoid")(kl.Flatten()(x))


def separable(x: Any) -> Any:
    x = kl.SeparableConv2D(6, 3, padding="same", activation="relu")(x)
    x = kl.BatchNormalization()(kl.DepthwiseConv2D(3, strides=2, depth_multiplier=2)(x))
    return kl.Dense(3)(kl.GlobalAveragePooling2D()(kl.Activation("hard_silu")(x)))


def residual(x: Any) -> Any:
    """As ResNet begins, and one of its blocks."""
    x = kl.Conv2D(4, 3, strides=2)(kl.ZeroPadding2D(1)(x))
    x = kl.MaxPooling2D(3, strides=2)(kl.ZeroPadding2D(1)(kl.ReLU()(kl.BatchNormalization()(x))))
    y = kl.ReLU()(kl.BatchNormalization()(kl.Conv2D(4, 3, padding="same")(x)))
    y = kl.BatchNormalization()(kl.Conv2D(4, 3, padding="same")(y))
    return kl.Dense(3)(kl.GlobalMaxPooling2D()(kl.ReLU()(kl.Add()([x, y]))))


def excited(x: Any) -> Any:
    """Channels weighted by what is in them."""
    x = kl.Conv2D(8, 3, activation="silu")(x)
    y = kl.GlobalAveragePooling2D(keepdims=True)(x)
    y = kl.Conv2D(8, 1, activation="sigmoid")(kl.Conv2D(2, 1, activation="relu")(y))
    return kl.Dense(3)(kl.GlobalAveragePooling2D()(kl.Multiply()([x, y])))


def unet(x: Any) -> Any:
    first = kl.Conv2D(4, 3, padding="same", activation="elu")(x)
    low = kl.Conv2D(6, 3, padding="same", activation="relu")(kl.MaxPooling2D()(first))
    up = kl.UpSampling2D(2)(low)
    x = kl.Conv2D(4, 2, padding="same")(kl.Concatenate()([first, up]))
    return kl.Conv2DTranspose(2, 3, strides=2, padding="same")(x)


def cropped(x: Any) -> Any:
    x = kl.Permute((2, 1, 3))(kl.Cropping2D(((1, 0), (2, 1)))(x))
    return kl.Conv2D(3, 2, activation="softplus")(x)


def series(x: Any) -> Any:
    x = kl.Conv1D(6, 3, padding="causal", activation="relu")(x)
    x = kl.MaxPooling1D(2)(kl.Conv1D(5, 3, dilation_rate=2, activation="tanh")(x))
    return kl.Dense(2)(kl.GlobalAveragePooling1D()(x))


def lstm(x: Any) -> Any:
    return kl.Dense(3)(kl.LSTM(6)(kl.LSTM(5, return_sequences=True)(x)))


def bidirectional(x: Any) -> Any:
    return kl.Bidirectional(kl.LSTM(4, return_sequences=True))(x)


def normalised(x: Any) -> Any:
    x = kl.Dense(8, activation="relu")(kl.LayerNormalization()(x))
    return kl.Dense(2)(kl.RMSNormalization()(x))


def groups(x: Any) -> Any:
    return kl.GroupNormalization(2)(kl.Conv2D(4, 3)(x))


def gated(x: Any) -> Any:
    """GELU, Mish and others side by side."""
    names = (
        "gelu",
        "mish",
        "softsign",
        "hard_sigmoid",
        "selu",
        "log_softmax",
        "relu6",
        "exponential",
    )
    x = kl.Dense(6)(x)
    parts = [kl.Activation(name)(x) for name in names]
    parts.append(kl.Activation(lambda x: keras.activations.gelu(x, approximate=True))(x))
    return kl.Concatenate()(parts)


def prelu(x: Any) -> Any:
    x = kl.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")(kl.Conv2D(4, 3)(x))
    return kl.PReLU(alpha_initializer="random_normal")(x)


def attention(x: Any) -> Any:
    """A layer of a transformer."""
    y = kl.LayerNormalization()(kl.Add()([x, kl.MultiHeadAttention(2, 4)(x, x)]))
    z = kl.Dense(8)(kl.Dense(12, activation="relu")(y))
    return kl.Dense(2)(kl.GlobalAveragePooling1D()(kl.LayerNormalization()(kl.Add()([y, z]))))


def one_head(x: Any) -> Any:
    """Attention without weights of its own, causal."""
    return kl.Attention(use_scale=True)([kl.Dense(4)(x), kl.Dense(4)(x)], use_causal_mask=True)


IMAGE, SERIES, VECTOR = (8, 8, 3), (6, 8), (6,)

CASES: dict[str, tuple[Build, tuple[int, ...]]] = {
    "mlp": (mlp, VECTOR),
    "prepared": (prepared, IMAGE),
    "cnn": (cnn, (9, 10, 3)),
    "separable": (separable, IMAGE),
    "residual": (residual, (12, 12, 3)),
    "excited": (excited, IMAGE),
    "unet": (unet, IMAGE),
    "cropped": (cropped, IMAGE),
    "series": (series, (12, 4)),
    "lstm": (lstm, SERIES),
    "bidirectional": (bidirectional, SERIES),
    "normalised": (normalised, SERIES),
    "groups": (groups, IMAGE),
    "gated": (gated, VECTOR),
    "prelu": (prelu, IMAGE),
    "attention": (attention, SERIES),
    "one_head": (one_head, SERIES),
}


def settled(net: Any, rng: np.random.Generator) -> None:
    """Give what training would change, but the initial values make trivial, other values."""
    for variable in net.variables:
        value = variable.numpy()
        if any(word in variable.path for word in ("bias", "beta", "moving_mean")):
            variable.assign(rng.normal(0, 0.3, value.shape))
        elif any(word in variable.path for word in ("gamma", "moving_variance", "scale")):
            variable.assign(rng.uniform(0.5, 1.5, value.shape))


def write(name: str) -> None:
    build, shape = CASES[name]
    seed = zlib.crc32(name.encode())
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed % 2**31)
    rng = np.random.default_rng(seed)
    x = keras.Input(shape)
    net = keras.Model(x, build(x))
    settled(net, rng)
    spec = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
    function = tf.function(lambda x: net(x, training=False), input_signature=spec)
    model, _ = tf2onnx.convert.from_function(function, spec, opset=OPSETS[seed % len(OPSETS)])
    read = {name for node in model.graph.node for name in node.input}
    for port in [port for port in model.graph.input if port.name not in read]:
        model.graph.input.remove(port)  # constants that were captured, and folded
    samples = rng.normal(size=(SAMPLES, *shape)).astype(np.float32)
    onnx.save(model, FOLDER / f"{name}.onnx")
    np.savez_compressed(FOLDER / f"{name}.npz", x=samples, y=function(samples).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases to write; all of them by default")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in parser.parse_args().names or CASES:
        write(name)


if __name__ == "__main__":
    main()
