"""Results show and save themselves; what is saved is read back by somebody else's reader."""

import base64
import dataclasses
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.answers import prediction_of, seen_by
from convscope.comparisons import compare_targets
from convscope.errors import ConvscopeError
from convscope.results import DRAWN_SIDE_PX, Comparison, Shown, fitted, picture_bytes
from tests import friendly, nets
from tests.standalone import Page

EVIL = "<script>alert('x')</script>"


def explanation(method: str = "grad-cam", **options) -> cs.Explanation:
    return cs.explain(friendly.network(), friendly.photo(), method, **options)


def comparison() -> Comparison:
    """Two classes whose names are those of numpy.savez's own arguments."""
    net = friendly.network(classes=("file", "allow_pickle", "c", "d", "e"))
    return compare_targets(net, friendly.photo(), ["file", "allow_pickle"])


RESULTS = [explanation, lambda: cs.predict(friendly.network(), friendly.photo()), comparison]


# ---- saving --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "form"), [(".png", "PNG"), (".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP"), (".PNG", "PNG")]
)
@pytest.mark.parametrize("make", RESULTS)
def test_a_saved_picture_is_the_drawn_one_in_the_format_of_its_ending(
    make, ending: str, form: str, tmp_path: Path
) -> None:
    result = make()
    path = result.save(tmp_path / f"deep/er/it{ending}")
    drawn = np.asarray(result.picture()).astype(float)
    with Image.open(path) as saved:
        assert saved.format == form
        difference = np.abs(np.asarray(saved.convert("RGB")).astype(float) - drawn).mean()
    assert difference == 0 if form == "PNG" else difference < 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_values_come_back_from_the_npz_to_the_last_bit(tmp_path: Path) -> None:
    found = explanation("gradient")
    with np.load(found.save(tmp_path / "why.npz")) as saved:
        assert sorted(saved) == ["about", "values"]
        assert saved["values"].dtype == np.float32
        np.testing.assert_array_equal(saved["values"], found.values.numpy())
        about = json.loads(str(saved["about"]))
    assert about["stamp"] == found.stamp.fields()
    assert (about["method"], about["target"]) == ("gradient", found.target)


def test_the_npz_of_a_prediction_has_all_logits_that_of_a_comparison_every_map(tmp_path: Path) -> None:
    """The maps' names may be anything, also what numpy.savez takes for its own arguments."""
    seen = cs.predict(friendly.network(), friendly.photo(), k=1)
    with np.load(seen.save(tmp_path / "seen.npz")) as saved:
        np.testing.assert_array_equal(saved["logits"], seen.logits.numpy())
    both = comparison()
    with np.load(both.save(tmp_path / "both.npz")) as saved:
        assert sorted(saved) == ["about", "allow_pickle", "file"]
        for name, one in both.explanations.items():
            np.testing.assert_array_equal(saved[name], one.values.numpy())


def test_the_same_result_makes_the_same_files(tmp_path: Path) -> None:
    """No clock in them: the second of two equal runs differs in nothing."""
    for ending in ("png", "npz", "html"):
        first, second = (explanation().save(tmp_path / f"{i}.{ending}").read_bytes() for i in range(2))
        assert first == second


@pytest.mark.parametrize("make", RESULTS)
def test_a_png_carries_the_stamp_in_its_text(make, tmp_path: Path) -> None:
    result = make()
    with Image.open(result.save(tmp_path / "it.png")) as saved:
        saved.load()
        assert json.loads(saved.text["convscope"]) == result.stamp.fields()


@pytest.mark.parametrize("name", ["why.tiff", "why", "why.gif", "why.npy"])
def test_another_ending_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=rf"cannot save '{name}': .*\.png, .*\.html, \.npz"):
        explanation().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_where_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, path = explanation(), tmp_path / "why.png"
    path.write_bytes(b"an older picture")

    def broken(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", broken)
        with pytest.raises(ConvscopeError, match="no space left"):
            found.save(path)
    assert path.read_bytes() == b"an older picture"
    assert list(tmp_path.iterdir()) == [path]


def test_a_sheet_too_large_for_its_format_is_refused() -> None:
    """WebP's own limit: 16383 pixels a side."""
    tall = Image.new("RGB", (2, 16_384))
    with pytest.raises(ConvscopeError, match=r"2 x 16384 pixels is too large for WEBP.*\.png"):
        picture_bytes(tall, "WEBP", explanation().stamp)
    assert picture_bytes(tall, "PNG", explanation().stamp)


# ---- pages and notebooks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", RESULTS)
def test_a_page_needs_no_other_file_and_shows_the_picture(make) -> None:
    result = make()
    page = Page(result.to_html())
    assert page.fetches == []
    assert "script" not in page.tags
    (link,) = page.references
    with Image.open(io.BytesIO(base64.b64decode(link.split(",")[1]))) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(result.picture()))
    assert result.stamp.model_hash in page.text
    assert all(text in page.text for text in result.facts().values())


def test_names_are_text_on_a_page_never_markup() -> None:
    net = friendly.network(classes=[EVIL] * 5, name=f'"><img src="http://x/{EVIL}">')
    for result in (cs.predict(net, friendly.photo()), cs.explain(net, friendly.photo(), "gradient")):
        html = result.to_html()
        page = Page(html)
        assert "<script" not in html
        assert page.fetches == []
        assert EVIL in page.text


@pytest.mark.parametrize("make", RESULTS)
def test_a_notebook_gets_the_picture_and_the_text(make) -> None:
    result = make()
    bundle = result._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == repr(result)
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(result.picture()))


def test_show_displays_in_a_notebook_and_opens_the_viewer_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    found, shown = explanation(), []
    monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self.size))
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    found.show()
    assert shown == [found.picture().size]
    shown.clear()
    display = SimpleNamespace(display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object(), display=display))
    found.show()
    assert shown == [found]
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None, display=display))
    found.show()
    assert shown[1:] == [found.picture().size]


# ---- what they say -------------------------------------------------------------------------------------------


def test_results_are_frozen() -> None:
    for make in RESULTS:
        result = make()
        assert isinstance(result, Shown)
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.stamp = None


def test_a_zero_map_stays_zero_and_says_why() -> None:
    """The logit's gradient is cut off by a ReLU that is off: every weight of the last layer negative."""
    net = friendly.network(nets.conv_relu_gap)
    with torch.no_grad():
        net.module.get_submodule("classifier").bias.fill_(-1e3)
    nets.building.watch(net.module)
    found = cs.explain(net, friendly.photo(), "gradient", 0)
    assert not found.values.any()
    assert "ReLU that is off" in found.zero_because
    assert found.zero_because in found.facts()["zero map"]
    assert found.tile().warning == found.zero_because
    assert explanation("gradient").zero_because == ""


def test_layer_and_options_are_named_once() -> None:
    found = explanation("grad-cam", score="probability")
    assert found.note == "relu2 · score probability"
    assert (found.facts()["layer"], found.facts()["options"]) == ("relu2", "score probability")
    assert explanation("deconvnet").note == ""  # the target says the layer
    assert "options" not in explanation("grad-cam").facts()


def test_more_classes_than_a_chart_can_hold_can_still_be_shown() -> None:
    """A chart holds ten; a result with all of fifty classes must not fail to be displayed."""
    net = friendly.network(classes=[f"class {i}" for i in range(50)])
    seen = prediction_of(seen_by(net, friendly.photo()), torch.linspace(0, 3, 50), k=50)
    assert (
        seen.picture().size
        == prediction_of(seen_by(net, friendly.photo()), torch.linspace(0, 3, 50), k=10).picture().size
    )


def test_a_large_photo_is_drawn_smaller_and_kept_as_it_is() -> None:
    large = Image.new("RGB", (3000, 1500))
    assert fitted(large).size == (DRAWN_SIDE_PX, DRAWN_SIDE_PX // 2)
    assert large.size == (3000, 1500)
    small = Image.new("RGB", (30, 15))
    assert fitted(small) is small
