"""One training step (forward, backward, Adam) against the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lutra.examples import digits_gan
from lutra.frontend.losses import BinaryCrossEntropy, CrossEntropy
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.optimisers import Adam
from lutra.frontend.tensor import Tensor, no_grad
from tests.bench.peers import CNN, MLP, samples, trained
from tests.bench.table import Row, compare

if TYPE_CHECKING:
    from tests.bench.in_torch import Network

BATCH = 64
RATE = 0.001

LIMITS = {
    MLP: 1.0,
    CNN: 1.2,
    "digits-lstm": 1.0,
    "digits-gru": 1.0,
    "digits-attention": 1.0,
    "digits-attention-multiplicative": 1.0,
    "digits-transformer": 1.0,
    "digits-resnet": 1.2,
}
"""What our time may be, in that of PyTorch."""

STEPS = 20
"""Steps that both sides take from the same weights, to see that they learn alike."""


def our_step(model: Model, x: Array, y: Array, training: bool) -> Callable[[], float]:
    """One step of ours; gives the loss before it."""
    loss_of, optimiser = CrossEntropy(), Adam(model.variables, learning_rate=RATE)

    def step() -> float:
        loss = loss_of(model(x, training=training), y)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def torch_step(network: Network, x: Array, y: Array, training: bool) -> Callable[[], float]:
    """The same step in PyTorch, with its default Adam."""
    import torch

    inputs, targets = network.enter(x), torch.from_numpy(y)
    loss_of = torch.nn.CrossEntropyLoss()
    optimiser = torch.optim.Adam(network.parameters, lr=RATE)
    network.train(training)

    def step() -> float:
        optimiser.zero_grad()
        loss = loss_of(network.run(inputs), targets)
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def rows() -> Iterator[Row]:
    """The networks of the project's targets.

    Raises:
        AssertionError: the two do not learn alike, so that the comparison would mean nothing.
    """
    from tests.bench import in_torch

    for what, limit in LIMITS.items():
        model = trained(what)
        network = in_torch.network(what).take(model)
        x = samples(model, BATCH)
        y = np.random.default_rng(0).integers(0, model.output_shape[-1], BATCH)
        # Without chance both compute the same; then with it, as in training.
        expect_alike(our_step(model, x, y, False), torch_step(network, x, y, False))
        times = compare(our_step(model, x, y, True), torch_step(network, x, y, True))
        yield Row(f"training step, {what}, batch {BATCH}", *times, limit)
    yield adversarial()


def expect_alike(ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """Take steps of both, and see that the losses are the same at first and stay close.

    PyTorch's GRU has twice the biases, which therefore move twice as fast.

    Raises:
        AssertionError: they are not.
    """
    for step in range(STEPS):
        a, b = ours(), theirs()
        allowed = 1e-2 if step else 1e-4
        assert np.allclose(a, b, rtol=allowed), f"losses {a} and {b} differ in step {step}"


def adversarial() -> Row:
    """A step of the discriminator and one of the generator."""
    from tests.bench import in_torch

    made, judge = digits_gan.generator(0), digits_gan.discriminator(0)
    networks = in_torch.generator().take(made), in_torch.discriminator().take(judge)
    chance = np.random.default_rng(0)
    real = chance.random((BATCH, *judge.input_shape), np.float32)
    latent = digits_gan.LATENT.draw(BATCH, chance).x
    targets = np.zeros((2 * BATCH, *judge.output_shape), np.float32)
    targets[:BATCH] = 0.9
    given = real, latent, targets
    expect_alike(our_duel(made, judge, *given, False), torch_duel(*networks, *given, False))
    times = compare(our_duel(made, judge, *given, True), torch_duel(*networks, *given, True))
    return Row(f"training step, digits-gan, batch {BATCH} of either kind", *times, 1.2)


def our_duel(
    made: Model, judge: Model, real: Array, latent: Array, targets: Array, training: bool
) -> Callable[[], tuple[float, float]]:
    """A step of each of our networks; gives the losses before them."""
    loss_of = BinaryCrossEntropy()
    optimisers = [Adam(model.variables, learning_rate=RATE) for model in (judge, made)]
    wanted = np.ones_like(targets[:BATCH])

    def step() -> tuple[float, float]:
        with no_grad():
            images = made(latent, training=training).data
        both = Tensor(np.concatenate([real, images]))
        found = loss_of(judge(both, training=training), targets)
        found.backward()
        optimisers[0].step()
        deceived = loss_of(judge(made(latent, training=training), training=training), wanted)
        deceived.backward()
        optimisers[1].step()
        return found.item(), deceived.item()

    return step


def torch_duel(
    made: Network, judge: Network, real: Array, latent: Array, targets: Array, training: bool
) -> Callable[[], tuple[float, float]]:
    """The same steps in PyTorch."""
    import torch

    loss_of = torch.nn.BCEWithLogitsLoss()
    optimisers = [torch.optim.Adam(network.parameters, lr=RATE) for network in (judge, made)]
    wanted = torch.ones(BATCH, *targets.shape[1:])
    noise, labels = made.enter(latent), torch.from_numpy(targets)
    shown = judge.enter(real)
    for network in (made, judge):
        network.train(training)

    def step() -> tuple[float, float]:
        with torch.no_grad():
            images = made.run(noise)
        optimisers[0].zero_grad()
        found = loss_of(judge.run(torch.cat([shown, images])), labels)
        found.backward()
        optimisers[0].step()
        optimisers[1].zero_grad()
        deceived = loss_of(judge.run(made.run(noise)), wanted)
        deceived.backward()
        optimisers[1].step()
        return float(found.item()), float(deceived.item())

    return step
