"""Adversarial training: what each network learns from, the same bits again, and honest errors."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lutra.frontend.adversarial import GanRecipe, Latent, Player, fit_adversarial
from lutra.frontend.data import Dataset
from lutra.frontend.errors import LutraError, ModelError, ShapeError
from lutra.frontend.history import AdversarialHistory, AdversarialResult
from lutra.frontend.layers import BatchNorm, Dense, Dropout, LeakyReLU, ReLU
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.optimisers import SGD, Adam

LATENT = Latent(noise=3, classes=2)


def clouds() -> Dataset:
    """Two clouds of points in the plane, one a class."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    return Dataset(rng.normal(size=(200, 2)) * 0.3 + np.where(y, 2, -2)[:, None], y)


def generator(seed: int, latent: Latent = LATENT) -> Model:
    return Model([Dense(16), BatchNorm(), ReLU(), Dense(2)], (latent.size,), seed)


def discriminator(seed: int, classes: int = 2) -> Model:
    return Model([Dense(16), LeakyReLU(0.2), Dropout(0.2), Dense(classes)], (2,), seed)


def player(model: Model, rate: float = 0.01) -> Player:
    return Player(model, Adam(model.variables, learning_rate=rate, betas=(0.5, 0.999)))


def train(
    path: Path | None = None,
    *,
    epochs: int = 5,
    resume: bool = False,
    seed: int = 0,
    smoothing: float = 0.1,
    rate: float = 0.01,
    latent: Latent = LATENT,
    console: Console | None = None,
) -> tuple[Model, Model, AdversarialHistory]:
    made, judged = generator(seed, latent), discriminator(seed, latent.classes)
    history = fit_adversarial(
        player(made, rate),
        player(judged),
        latent,
        clouds(),
        epochs=epochs,
        smoothing=smoothing,
        seed=seed,
        checkpoint=path,
        resume=resume,
        console=console,
    )
    return made, judged, history


def same(a: Model, b: Model) -> bool:
    first, second = a.weights, b.weights
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def test_the_generator_learns_each_class() -> None:
    made, _, history = train(epochs=60)
    latent = LATENT.draw(400, np.random.default_rng(1))
    points = made.predict(latent.x)
    right = (points > 0).all(axis=1) == latent.y
    assert right.mean() > 0.95
    assert len(history.epochs) == 60
    before = generator(0).predict(latent.x)
    centres = np.where(latent.y, 2, -2)[:, None]
    assert np.abs(points - centres).mean() < 0.3 * np.abs(before - centres).mean()


def test_without_classes_all_samples_are_alike() -> None:
    latent = Latent(noise=3)
    made, _, _ = train(epochs=40, latent=latent)
    points = made.predict(latent.draw(400, np.random.default_rng(1)).x)
    assert 1 < np.abs(points).mean() < 3
    assert points.shape == (400, 2)


def test_latent_rows() -> None:
    latent = LATENT.draw(1000, np.random.default_rng(0))
    assert latent.x.shape == (1000, LATENT.size) == (1000, 5)
    np.testing.assert_array_equal(latent.x[:, :2].argmax(axis=1), latent.y)
    np.testing.assert_array_equal(latent.x[:, :2].sum(axis=1), 1)
    assert 400 < latent.y.sum() < 600
    noise = latent.x[:, 2:]
    assert -1 <= noise.min() < -0.99
    assert 0.99 < noise.max() < 1
    assert Latent(noise=3).draw(7, np.random.default_rng(0)).x.shape == (7, 3)


def test_each_network_changes_in_its_own_step_only() -> None:
    """A player whose optimiser stands still keeps its weights, whatever the other one does."""
    for still in (0, 1):
        models = generator(0), discriminator(0)
        before = [model.weights for model in models]
        players = [player(model) for model in models]
        players[still] = Player(models[still], SGD(models[still].variables, learning_rate=1e-30))
        fit_adversarial(players[0], players[1], LATENT, clouds(), epochs=1)
        for i, model in enumerate(models):
            trained = [variable.name for variable in model.variables]
            moved = [np.abs(model.weights[name] - before[i][name]).max() for name in trained]
            assert max(moved) < 1e-20 if i == still else min(moved) > 1e-4


def test_losses_of_an_epoch_by_hand() -> None:
    """One batch, weights that stand still: -log D of the real, -log(1 - D) of the generated ones,
    with one-sided smoothing, and -log D of the generated ones."""
    made, judged = generator(0), Model([Dense(2)], (2,), 0)
    data = clouds()
    history = fit_adversarial(
        Player(made, SGD(made.variables, learning_rate=1e-30)),
        Player(judged, SGD(judged.variables, learning_rate=1e-30)),
        LATENT,
        data,
        epochs=1,
        batch_size=200,
        smoothing=0.3,
        seed=4,
    )

    chance = np.random.default_rng(4)
    order = chance.permutation(200)
    x, y = data.x[order], data.y[order]

    def logits(points: Array, classes: Array) -> Array:
        return judged.predict(points)[np.arange(200), classes].astype(np.float64)

    def cost(logit: Array, target: float) -> float:
        return float((np.logaddexp(0, logit) - target * logit).mean())

    first, second = LATENT.draw(200, chance), LATENT.draw(200, chance)
    fakes = [made(rows.x, training=True).data for rows in (first, second)]
    discriminator_loss = (cost(logits(x, y), 0.7) + cost(logits(fakes[0], first.y), 0)) / 2
    (result,) = history.epochs
    assert result.discriminator_loss == pytest.approx(discriminator_loss, rel=1e-5)
    assert result.generator_loss == pytest.approx(cost(logits(fakes[1], second.y), 1), rel=1e-5)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second, other = train(), train(), train(seed=1)
    assert same(first[0], second[0])
    assert same(first[1], second[1])
    assert first[2] == second[2]
    assert not same(first[0], other[0])


def test_resumed_runs_end_alike_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    whole = train(epochs=5)
    train(path, epochs=2)
    train(path, epochs=3, resume=True)
    resumed = train(path, epochs=5, resume=True)
    assert same(whole[0], resumed[0])
    assert same(whole[1], resumed[1])
    assert whole[2] == resumed[2]


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    for setting, value, named in (
        ("seed", 1, "discriminator model seed, generator model seed, seed"),
        ("smoothing", 0.2, "smoothing"),
        ("rate", 0.02, "generator learning rate"),
        ("latent", Latent(noise=4, classes=2), "generator input shape, latent"),
    ):
        with pytest.raises(ModelError, match=f"of another run: {named} differ"):
            train(path, resume=True, **{setting: value})  # type: ignore[arg-type]


def test_both_losses_are_shown_and_kept(tmp_path: Path) -> None:
    text = io.StringIO()
    _, _, history = train(epochs=2, console=Console(file=text, width=100))
    last = history.epochs[-1]
    assert (
        f"epoch 2/2  generator loss {last.generator_loss:.4f}, "
        f"discriminator loss {last.discriminator_loss:.4f}"
    ) in text.getvalue()
    text = io.StringIO()
    train(epochs=2, console=Console(file=text, width=80, force_terminal=True))
    assert f"generator {last.generator_loss:.3f}, discriminator " in text.getvalue()
    history.save_csv(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert lines[0] == "epoch,generator_loss,discriminator_loss"
    assert AdversarialResult(2, *map(float, lines[2].split(",")[1:])) == last


@pytest.mark.parametrize(
    ("made", "judged", "problem"),
    [
        (generator(0, Latent(4, 2)), discriminator(0), "the generator's input"),
        (Model([Dense(3)], (5,)), discriminator(0), "the generator's output"),
        (generator(0), Model([Dense(2)], (3,)), "the discriminator's input"),
        (generator(0), discriminator(0, 1), "the discriminator's output"),
    ],
)
def test_networks_that_do_not_fit(made: Model, judged: Model, problem: str) -> None:
    with pytest.raises(ShapeError, match=f"{problem} has the wrong shape"):
        fit_adversarial(player(made), player(judged), LATENT, clouds(), epochs=1)


def test_arguments_that_make_no_sense() -> None:
    players = player(generator(0)), player(discriminator(0))
    data = clouds()
    with pytest.raises(ShapeError, match="the real samples have no classes"):
        fit_adversarial(*players, LATENT, Dataset(data.x, data.x), epochs=1)
    with pytest.raises(ModelError, match="not one of the classes"):
        fit_adversarial(*players, LATENT, Dataset(data.x, data.y + 1), epochs=1)
    for problem, arguments in (
        ("epochs must be at least 1", {"epochs": 0}),
        ("batch_size must be at least 1", {"epochs": 1, "batch_size": 0}),
        ("smoothing is a probability", {"epochs": 1, "smoothing": 1.0}),
        ("to resume, name the checkpoint", {"epochs": 1, "resume": True}),
    ):
        with pytest.raises(LutraError, match=problem):
            fit_adversarial(*players, LATENT, data, **arguments)
    for wrong in ((0, 2), (3, 0)):
        with pytest.raises(LutraError, match="must be at least 1"):
            Latent(*wrong)


def test_a_run_that_diverges_is_stopped() -> None:
    with pytest.raises(ModelError, match="diverged: the loss of epoch 1 is not finite"):
        train(rate=1e30)


RECIPE = GanRecipe(
    name="clouds",
    description="points of two clouds",
    generator=generator,
    discriminator=discriminator,
    load=clouds,
    latent=LATENT,
    epochs=3,
    samples=50,
)


def test_a_recipe(tmp_path: Path) -> None:
    judged = replace(RECIPE, judge=lambda model, latent: [f"{len(model.predict(latent.x))} points"])
    whole = judged.run(seed=2)
    assert whole.remarks == ("50 points",)
    assert whole.graph.name == "clouds"
    assert whole.calibration.x.shape == whole.test.x.shape == (50, 5)
    assert not np.array_equal(whole.calibration.x, whole.test.x)
    assert (whole.test.y, whole.test_accuracy) == (None, None)
    assert isinstance(whole.history, AdversarialHistory)
    assert len(whole.history.epochs) == 3

    RECIPE.run(seed=2, epochs=1, checkpoint=tmp_path / "run.npz")
    resumed = RECIPE.run(seed=2, checkpoint=tmp_path / "run.npz", resume=True)
    assert same(resumed.model, whole.model)
    assert resumed.remarks == ()
    np.testing.assert_array_equal(resumed.test.x, whole.test.x)
