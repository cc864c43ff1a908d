"""Effects kept in an atlas. Oracle: the ablation itself; what does not belong there changes nothing."""

import json
import shutil
from pathlib import Path

import pytest

import convscope as cs
from convscope.atlases import ablation_rows
from convscope.atlases.ablation_rows import check_atlas, keep_effects
from convscope.atlases.data_ablations import ablate_data
from convscope.dataset.image_sources import source_of
from convscope.errors import ConvscopeError
from tests import friendly, nets
from tests.atlases.surveyed import contents, differing, photo_folder


@pytest.fixture
def atlas(photos: Path, tmp_path: Path) -> Path:
    out = tmp_path / "photos.atlas"
    cs.survey(friendly.network(), photos, out, layers=["conv1", "conv2"], top=2, pictures=False).close()
    return out


def test_the_atlas_gives_them_back_by_unit_mode_and_class(photos: Path, atlas: Path) -> None:
    net = friendly.network()
    zero = ablate_data(net, photos, layer="conv2")
    mean = ablate_data(net, photos, units="conv2:3", mode="mean")
    before = contents(atlas)
    assert keep_effects(atlas, zero) == 8
    assert keep_effects(atlas, mean) == 1
    assert differing(before, contents(atlas)) == ["ablations"]
    kept = cs.open_atlas(atlas)
    for made, mode, number in ((zero, "zero", 3), (mean, "mean", 0)):
        found, effects = kept.ablation("conv2:3", mode), made.effects
        assert set(found) == {"", *made.classes}
        assert found[""] == {
            "images": 23,
            "correct_before": effects.right.sum(),
            "correct_after": effects.right_without[number].sum(),
            "logit_drop": pytest.approx(effects.mean_logit_drop[number]),
            "probability_drop": pytest.approx(effects.mean_probability_drop[number]),
        }
        for column, name in enumerate(made.classes):
            assert found[name]["images"] == effects.images[column]
            assert found[name]["correct_after"] == effects.right_without[number, column]
            assert found[name]["logit_drop"] == pytest.approx(effects.mean_logit_drop_by_class[number, column])
    assert kept.ablation("conv1:0") == {}
    kept.close()
    whole = contents(atlas)
    keep_effects(atlas, zero)
    assert differing(whole, contents(atlas)) == []  # again: replaced, not added


def test_images_are_compared_in_one_walk(photos: Path, atlas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, walks = source_of(photos), list[bool]()
    names = source.names
    monkeypatch.setattr(source, "names", lambda: (walks.append(True), names())[1])
    kept = cs.open_atlas(atlas)
    ablation_rows._check_images(kept, source)
    assert len(walks) == 1
    ablate_data(friendly.network(), source, "conv2:0", mode="mean", labels="none", on_step=lambda *_: None)
    assert len(walks) == 1 + 4  # for an image that is taken, for their number, and for each of the two passes
    kept.close()


def test_what_is_not_of_this_atlas_is_refused(photos: Path, atlas: Path, tmp_path: Path) -> None:
    net, source = friendly.network(), source_of(photos)
    kept, before = cs.open_atlas(atlas), contents(atlas)
    check_atlas(kept, net, source, ["conv2:0-3"])
    others = source_of(photo_folder(tmp_path / "others", 5))
    renamed = source_of(shutil.copytree(photos, tmp_path / "renamed"))
    last = list(renamed.names())[-1]
    (tmp_path / "renamed" / last).rename((tmp_path / "renamed" / last).with_name("zz.png"))
    swapped = source_of(shutil.copytree(photos, tmp_path / "swapped"))
    shutil.copy(photos / last, tmp_path / "swapped" / next(iter(swapped.names())))
    for given, message in (
        ((friendly.network(nets.residual), source, ["conv2:0"]), "made with another network"),
        ((net, others, ["conv2:0"]), "is of 24 images, and 5 photos in others are others"),
        ((net, renamed, ["conv2:0"]), "24 photos in renamed are others: no image .*zz.png. was read in photos.atlas"),
        ((net, swapped, ["conv2:0"]), "is of other images: .* of swapped is another picture"),
        ((net, source, ["conv2:0"], "none"), "has other data classes than --labels none gives"),
        ((net, source, ["conv3:0"]), "conv3"),
        ((net, source, ["conv2:0@1,1"]), "an atlas keeps whole units; name conv2:0"),
    ):
        with pytest.raises(ConvscopeError, match=message):
            check_atlas(kept, *given)
    for made, message in (
        (ablate_data(net, photos, "conv2:0,1", together=True), "not of several that are off together"),
    ):
        with pytest.raises(ConvscopeError, match=message):
            keep_effects(atlas, made)
    kept.close()
    assert json.dumps(differing(before, contents(atlas))) == "[]"
