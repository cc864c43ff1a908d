"""The first pass of an audit. Oracle: a slow loop, an image at a time in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.audits.answered import Answered, answered, known_labels
from convscope.dataset.image_sources import source_of
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from tests import friendly
from tests.audits.squares import colour_net, make_photos

FOLDERS = ("crane", "tabby", "lion")


def looked_at(net: Network, folder: Path, layer: str, batch: int = 3) -> tuple[Answered, dict[str, str]]:
    source, skipped = source_of(folder), dict[str, str]()
    labels = known_labels(source, net, "auto")
    return answered(net, source, labels, layer, skipped=skipped.__setitem__, batch=batch), skipped


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random photos in three folders, one of which is two classes of the network."""
    folder = tmp_path_factory.mktemp("mixed")
    for number in range(21):
        path = folder / FOLDERS[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        friendly.photo(20, 16, seed=number).save(path)
    return folder


def test_errors_are_ranked_by_loss_as_a_slow_loop_ranks_them(mixed: Path) -> None:
    net = friendly.network(seed=19)
    found, skipped = looked_at(net, mixed, "relu2")
    rights = {"crane": (3, 4), "tabby": (0,), "lion": (2,)}
    slow, features = [], {}
    for number, name in enumerate(source_of(mixed).names()):
        x = net.input_of(Image.open(mixed / name).convert("RGB"))
        with torch.no_grad():
            logits = net.module(x)[0].double()
            features[name] = net.module[:5](x)[0].mean((1, 2)).numpy()
        right = list(rights[name.split("/")[0]])
        loss = float(-torch.log(logits.softmax(0)[right].sum()))
        expected = max(right, key=lambda c: float(logits[c]))
        slow.append((loss, number, name, int(logits.argmax()), expected))
    wrong = sorted((each for each in slow if each[3] not in rights[each[2].split("/")[0]]), key=lambda e: (-e[0], e[1]))
    assert 2 < len(wrong) < 21
    assert [(e.number, e.name, e.predicted, e.expected) for e in found.errors] == [each[1:] for each in wrong]
    np.testing.assert_allclose([e.loss for e in found.errors], [each[0] for each in wrong], rtol=1e-5)
    np.testing.assert_allclose(
        [e.expected_probability for e in found.errors], np.exp([-e[0] for e in wrong]), rtol=1e-5
    )
    np.testing.assert_allclose(found.features, [features[each[2]] for each in wrong], rtol=1e-4, atol=1e-6)
    assert found.table.accuracy == (21 - len(wrong)) / 21
    assert len(found.images) == 21
    assert skipped == {}


def test_batches_change_nothing(mixed: Path) -> None:
    """Oracle: one image a batch."""
    net = friendly.network()
    one, many = looked_at(net, mixed, "relu2", 1)[0], looked_at(net, mixed, "relu2", 16)[0]
    assert [e.name for e in one.errors] == [e.name for e in many.errors]
    np.testing.assert_allclose(one.features, many.features, rtol=1e-5, atol=1e-7)


def test_what_cannot_be_read_is_told_and_the_rest_is_judged(tmp_path: Path) -> None:
    photos = make_photos(tmp_path)
    (photos / "red" / "0.png").write_bytes(b"\x89PNG and no more")
    found, skipped = looked_at(colour_net(), photos, "1")
    assert list(skipped) == ["red/0.png"]
    assert len(found.images) == 9
    assert [(e.name, e.predicted) for e in found.errors] == [("red/3.png", 1), ("green/6.png", 0)]


def test_nan_logits_are_told(tmp_path: Path) -> None:
    net = colour_net(first=float("inf"))  # times 0 of the pixels
    with pytest.raises(ConvscopeError, match=r"none of the 10 photos in photos can be used; .*NaN or infinite"):
        looked_at(net, make_photos(tmp_path), "1")


def test_data_without_labels_is_refused_with_how_they_are_given(tmp_path: Path) -> None:
    friendly.photo().save(tmp_path / "1.png")
    with pytest.raises(
        ConvscopeError, match=r"without labels.*needs to know what is right.*folder.*--labels.*--classes"
    ):
        known_labels(source_of(tmp_path), colour_net(), "auto")


def test_labels_that_are_no_classes_of_the_network_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path)
    why = r"none of the 2 labels.*'green', 'red'.* is a class of colours \(cyan, blue.*--classes"
    with pytest.raises(ConvscopeError, match=why):
        known_labels(source_of(photos), colour_net(("cyan", "blue")), "auto")


def test_groups_of_which_one_is_a_class_are_judged_by_it_and_the_others_counted(tmp_path: Path) -> None:
    net, source = colour_net(("red", "blue")), source_of(make_photos(tmp_path))
    labels = known_labels(source, net, "groups")
    found = answered(net, source, labels, "1", skipped=lambda *_: None)
    assert found.unjudged == 5
    assert [e.name for e in found.errors] == ["red/3.png"]
    assert len(found.images) == 5
