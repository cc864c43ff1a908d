"""Units that lift the wrong class. Oracles: the head's closed form, and each unit put to zero by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convscope.audits import lifting_units
from convscope.audits.answered import answered, known_labels
from convscope.audits.lifting_units import Lifting, confusions
from convscope.dataset.image_sources import source_of
from tests.audits.squares import colour_net, make_photos


def made(tmp_path: Path, *, flat: bool = False):
    net, source = colour_net(flat=flat), source_of(make_photos(tmp_path))
    answers = answered(net, source, known_labels(source, net, "auto"), "1", skipped=lambda *_: None)
    example = net.input_of(source.read("red/0.png").image)
    return net, source, answers, Lifting(net, source, "1", 8, example)


def test_they_share_the_whole_difference_out_but_for_the_biases(tmp_path: Path) -> None:
    net, source, answers, lifting = made(tmp_path)
    assert lifting.is_read_off
    found, margins = lifting.of(answers.errors)
    weights, bias = net.module[4].weight.detach(), net.module[4].bias.detach()
    for row, margin, one in zip(found, margins, answers.errors, strict=True):
        x = net.input_of(source.read(one.name).image)
        with torch.no_grad():
            means, logits = net.module[:2](x)[0].mean((1, 2)), net.module(x)[0]
        p, e = one.predicted, one.expected
        np.testing.assert_allclose(row, ((weights[p] - weights[e]) * means).numpy(), atol=1e-6)
        assert margin == pytest.approx(float(logits[p] - logits[e]), abs=1e-6)
        assert row.sum() == pytest.approx(float(logits[p] - logits[e] - (bias[p] - bias[e])), abs=1e-5)


def test_above_another_head_each_unit_is_put_to_zero(tmp_path: Path) -> None:
    net, source, answers, lifting = made(tmp_path, flat=True)
    assert not lifting.is_read_off
    assert not lifting.is_quick
    found, _ = lifting.of(answers.errors[:1])
    one = answers.errors[0]
    with torch.no_grad():
        maps = net.module[:2](net.input_of(source.read(one.name).image))
        before = net.module[2:](maps)[0]
        for unit in range(4):
            off = maps.clone()
            off[:, unit] = 0
            drop = before - net.module[2:](off)[0]
            assert found[0, unit] == pytest.approx(float(drop[one.predicted] - drop[one.expected]), abs=1e-5)


def test_where_a_unit_is_a_pass_those_of_the_largest_first_order_are_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is linear in each map, so that the first order is exact. Oracle: all units, ablated."""
    monkeypatch.setattr(lifting_units, "CANDIDATES", 2)
    _, _, answers, lifting = made(tmp_path, flat=True)
    for one in answers.errors:
        every = lifting.of([one])[0][0]
        best = np.argsort(-every, kind="stable")[:2].tolist()
        assert lifting.candidates([one]) == best
        assert [name for name, _ in lifting.strongest(one)] == [f"1:{unit}" for unit in best if every[unit] > 0]
    (first,) = confusions(answers, lifting)
    own = next(e for e in answers.errors if (e.label, e.predicted) == (0, 0))
    every = lifting.of([own])[0][0]
    rights = [e for e in answers.images if e.is_right and e.label == own.label]
    usual = lifting.of(rights, own.predicted)[0].mean(0)
    for unit in first.units:
        number = int(unit.unit.removeprefix("1:"))
        assert (unit.lift, unit.usual) == (pytest.approx(every[number]), pytest.approx(usual[number]))
    assert [each.unit for each in first.units] == [
        f"1:{unit}" for unit in lifting.candidates([own]) or () if every[unit] > 0
    ]


def test_of_many_images_some_are_looked_at_from_the_worst_to_the_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifting_units, "MOST_READ", 4)
    _, _, answers, lifting = made(tmp_path)
    assert [each.number for each in lifting.some(answers.images)] == [
        answers.images[place].number for place in (0, 2, 5, 7)
    ]
    assert lifting.some(answers.images[:3]) == list(answers.images[:3])
    assert lifting.some([]) == []


def test_the_strongest_of_one_error_push_towards_the_answer(tmp_path: Path) -> None:
    """The green square in the folder of red: unit 1 is green, and unit 2, on everywhere, gives it a quarter more."""
    _, _, answers, lifting = made(tmp_path)
    one = next(e for e in answers.errors if e.name == "red/3.png")
    (first, lift), (second, constant) = lifting.strongest(one)
    assert (first, second) == ("1:1", "1:2")
    assert lift == pytest.approx(12 * 49 / 256)  # 7 x 7 pixels of pure green
    assert constant == pytest.approx(0.25)


def test_confusions_are_counted_and_held_against_right_answers(tmp_path: Path) -> None:
    _, _, answers, lifting = made(tmp_path)
    first, *others = confusions(answers, lifting)
    assert others == []  # two of one image each: the first by the classes' order
    assert (first.label, first.called, first.images, first.share) == ("green", "red", 1, 1 / 5)
    assert first.units[0].unit == "1:0"
    assert all(unit.lift > 0 for unit in first.units)  # the others do not lift the wrong class
    one = next(e for e in answers.errors if e.name == "green/6.png")
    assert first.margin == pytest.approx(lifting.of([one])[1][0])
    rights = [e for e in answers.images if e.is_right and e.label == one.label]
    usual, _ = lifting.of(rights, one.predicted)
    means, lift = usual.mean(0), lifting.of([one])[0][0]
    assert means[2] == pytest.approx(0.25 - 0.5)
    for unit in first.units:
        number = int(unit.unit.removeprefix("1:"))
        assert unit.usual == pytest.approx(means[number])
        assert unit.lift == pytest.approx(lift[number])
