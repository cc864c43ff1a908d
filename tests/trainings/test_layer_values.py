"""How weights and values lie over the epochs. Oracles: numpy's quantiles of the numbers themselves, closed forms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convscope.dataset.histograms import BINS, EDGES, bins_at
from convscope.errors import ConvscopeError
from convscope.render.epoch_bands import QUANTILES
from convscope.trainings.layer_values import MOST_LAYERS, layer_values, quantiles_of, share_above_zero
from convscope.trainings.training_run import open_training
from tests.trainings.runs import layer, snapshot, usual, write_run


def test_quantiles_are_those_of_the_numbers_but_for_a_bins_width() -> None:
    """Bins are a fifth of their numbers wide; the zero bin is next to nothing."""
    numbers = np.random.default_rng(0).normal(0.3, 1.0, (1, 20000, 1)).astype(np.float32)
    bins = bins_at(numbers, np.arange(20000))
    counts = np.bincount(bins.ravel(), minlength=BINS)
    found = quantiles_of(EDGES, counts, QUANTILES)
    np.testing.assert_allclose(found, np.quantile(numbers, QUANTILES), rtol=0.05)
    assert share_above_zero(EDGES, counts) == pytest.approx(float((numbers > 0).mean()), abs=1e-3)
    held = np.flatnonzero(counts)
    cut = slice(held[0], held[-1] + 1)  # as a snapshot keeps them: from the first that holds any to the last
    np.testing.assert_allclose(quantiles_of(EDGES[held[0] : held[-1] + 2], counts[cut], QUANTILES), found)


def test_quantiles_over_empty_bins_and_of_nothing() -> None:
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        quantiles_of(edges, np.array([2, 0, 2]), [0.0, 0.25, 0.5, 0.75, 1.0]), [0, 0.5, 1, 2.5, 3]
    )
    assert np.isnan(quantiles_of(np.zeros(1), np.zeros(0), QUANTILES)).all()
    assert np.isnan(share_above_zero(np.zeros(1), np.zeros(0)))


def test_the_charts_are_of_the_snapshots_histograms(tmp_path: Path) -> None:
    """A quarter of the values evenly from -1 to 0, the rest from 0 to 1 + epoch; weights evenly from -0.5 to 0.5."""
    found = layer_values(open_training(usual(tmp_path)))
    values, weights = found.spreads["values"], found.spreads["weights"]
    assert values.layers == ("conv1", "relu1", "frozen")
    expected = [[-0.8, 0.0, (1 + e) / 3, 2 * (1 + e) / 3, 0.7 / 0.75 * (1 + e)] for e in range(4)]
    np.testing.assert_allclose(values.quantiles[0], expected, atol=1e-12)
    np.testing.assert_allclose(values.positive, 0.75)
    np.testing.assert_allclose(weights.quantiles, np.tile([-0.45, -0.25, 0, 0.25, 0.45], (3, 4, 1)), atol=1e-12)
    assert found.title == "How the weights and values of 3 layers lie, epoch 0 to 3"
    assert found.facts()["values of conv1"] == "median 1.33, nine tenths from −0.8 to 3.73, 75.0% > 0"
    assert found.facts()["weights of conv1"] == "median 0, nine tenths from −0.45 to 0.45"


def test_what_is_counted_at_the_end_of_the_bins_is_said(tmp_path: Path) -> None:
    far = replace(layer("conv1", 0), edges=EDGES[-2:], counts=np.array([5]))
    found = layer_values(open_training(write_run(tmp_path / "a.run", [snapshot(0, layers=(far,))])))
    found.picture()
    assert "beyond 1.68×10⁷ is counted as that" in found._subtitle
    assert "beyond" not in layer_values(open_training(usual(tmp_path / "b")))._subtitle


def test_of_many_layers_some_are_drawn_the_last_among_them(tmp_path: Path) -> None:
    many = tuple(layer(f"conv{number}", 0) for number in range(MOST_LAYERS + 5))
    found = layer_values(open_training(write_run(tmp_path / "a.run", [snapshot(0, layers=many)])))
    shown = found.spreads["values"].shown
    assert (len(set(shown)), shown[0], shown[-1]) == (MOST_LAYERS, 0, MOST_LAYERS + 4)
    assert f"{MOST_LAYERS} layers are drawn" in found._subtitle


def test_an_epoch_without_numbers_is_a_gap_and_a_layer_without_any_is_left_out(tmp_path: Path) -> None:
    nothing = {"edges": np.zeros(1), "counts": np.zeros(0, np.int64)}
    nothing |= {"weight_edges": np.zeros(1), "weight_counts": np.zeros(0, np.int64)}
    gone, bare = replace(layer("conv1", 1), **nothing), replace(layer("pool", 0), **nothing)
    made = [snapshot(0, layers=(layer("conv1", 0), bare)), snapshot(1, layers=(gone,))]
    found = layer_values(open_training(write_run(tmp_path / "a.run", made)))
    assert found.spreads["values"].layers == ("conv1",)
    assert np.isnan(found.spreads["values"].quantiles[0, 1]).all()
    assert found.facts()["values of conv1"] == "no finite number"
    found.picture()
    with pytest.raises(ConvscopeError, match="count none"):
        layer_values(open_training(write_run(tmp_path / "b.run", [snapshot(0, layers=(bare,))])))


def test_snapshots_of_an_older_probe_have_values_only(tmp_path: Path) -> None:
    old = replace(layer("conv1", 0), weight_edges=np.zeros(0), weight_counts=np.zeros(0, np.int64))
    found = layer_values(open_training(write_run(tmp_path / "a.run", [snapshot(0, layers=(old,))])))
    assert list(found.spreads) == ["values"]
    assert found.title == "How the values of 1 layer lie after epoch 0"
    found.picture()
