"""The networks that PyTorch is timed with are ours."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from lutra.examples import digits_gan
from lutra.frontend.model import Model
from tests.bench import in_torch
from tests.bench.bench_training import LIMITS
from tests.bench.peers import samples, trained

TOLERANCE = 1e-5
"""Both sides work in float32 and round differently."""


@pytest.mark.parametrize("what", LIMITS)
def test_classifier(what: str) -> None:
    model = trained(what)
    _equal(in_torch.network(what).take(model), model)


def test_generator_and_discriminator() -> None:
    made, judge = digits_gan.generator(0), digits_gan.discriminator(0)
    _equal(in_torch.generator().take(made), made)
    _equal(in_torch.discriminator().take(judge), judge)


def _equal(network: in_torch.Network, model: Model) -> None:
    x = samples(model, 5)
    network.train(False)
    theirs = network.run(network.enter(x)).detach().numpy()
    theirs = np.moveaxis(theirs, 1, -1) if theirs.ndim == 4 else theirs
    np.testing.assert_allclose(model.predict(x), theirs, rtol=TOLERANCE, atol=TOLERANCE)
