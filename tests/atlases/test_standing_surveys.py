"""Surveys where an atlas is there already: a refused one leaves it as it was, a finished one is what was asked for."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases import surveying
from convscope.errors import ConvscopeError
from convscope.store.atlas_folder import locked
from convscope.writing import UnwritableError
from tests import friendly, nets
from tests.atlases.surveyed import SMALL, StoppedError, contents, differing, stopping


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, in an empty folder."""
    (tmp_path / "here").mkdir()
    return shutil.copytree(finished, tmp_path / "here" / "x.atlas")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def full(*_: object, **__: object) -> None:
    raise UnwritableError("cannot write plan.json: No space left on device")


# ---- an unfinished one


@pytest.mark.parametrize("why", ["typo", "number", "data", "full disk"])
def test_a_refused_overwrite_leaves_the_unfinished_atlas_as_it_was(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    out = tmp_path / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, on_step=stopping(14), threads=1, **SMALL)
    before = files(tmp_path)
    assert sum(name.startswith("x.atlas/parts/") for name in before) > 1
    (tmp_path / "none").mkdir()
    asked = {"typo": {"layers": "conv11"}, "number": {"top": 0}}.get(why, {})
    data = tmp_path / "none" if why == "data" else photos
    with monkeypatch.context() as patched:
        if why == "full disk":
            patched.setattr("convscope.dataset.planning._write_images", full)
        with pytest.raises(ConvscopeError):
            cs.survey(net, data, out, overwrite=True, **{**SMALL, **asked})
    assert files(tmp_path) == before
    cs.survey(net, photos, out, resume=True, **SMALL)
    assert differing(contents(out), contents(finished)) == []


def test_a_kill_while_the_old_parts_are_deleted_leaves_what_resume_goes_on_with(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of images goes first here: whatever the order, the folder must still be an atlas."""
    out, emptied = tmp_path / "x.atlas", surveying._emptied
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, on_step=stopping(14), threads=1, **SMALL)

    def killed(folder: Path, **_: Any) -> None:
        (folder / "images.jsonl").unlink()
        monkeypatch.setattr(surveying, "_emptied", emptied)
        raise StoppedError

    monkeypatch.setattr(surveying, "_emptied", killed)
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, overwrite=True, **SMALL)
    cs.survey(net, photos, out, resume=True, **SMALL)
    assert differing(contents(out), contents(finished)) == []


def test_what_killed_runs_left_half_written_is_not_in_the_finished_atlas(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    """Oracle: the files of an unbroken survey."""
    out = tmp_path / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, on_step=stopping(14), threads=1, **SMALL)
    for name in (".features.safetensors.e3_p2new", ".manifest.json.abc", ".mean_patterns.safetensors.x"):
        (out / name).write_bytes(b"half")
    cs.survey(net, photos, out, resume=True, **SMALL)
    assert {p.name for p in out.iterdir()} == {p.name for p in finished.iterdir()}


# ---- a finished one


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"layers": "conv1"}, "begun with the layers conv1, conv2, not with conv1"),
        ({"layers": "conv11"}, "did you mean 'conv1'"),
        ({"top": 9}, "begun with top 3, not with 9"),
        ({"per_image": 2}, "per_image 1, not with 2"),
        ({"batch": 3}, "batches of 2, not with 3"),
        ({"shard": 256}, "shards of 5, not with 256"),
        ({"features": 7}, "features of 6, not with 7"),
        ({"patterns": "conv1"}, "patterns of conv2, not with conv1"),
        ({"labels": "none"}, "labels from folders, not with none"),
        ({"pictures": False}, "with pictures, not without"),
    ],
)
def test_resume_refuses_other_options_by_name(
    net: cs.Network, photos: Path, out: Path, asked: dict[str, Any], said: str
) -> None:
    before = files(out.parent)
    with pytest.raises(ConvscopeError, match=said):
        cs.survey(net, photos, out, resume=True, **asked)
    assert files(out.parent) == before


@pytest.mark.parametrize("asked", [{}, SMALL, {"labels": "auto"}, {"layers": ["conv1", "conv2"], "pictures": True}])
def test_resume_does_nothing_where_it_is_what_was_asked_for(
    net: cs.Network, photos: Path, out: Path, asked: dict[str, Any]
) -> None:
    before, said = files(out.parent), list[str]()
    out.parent.chmod(0o555)
    try:
        cs.survey(net, photos, out, resume=True, on_note=said.append, **asked)
    finally:
        out.parent.chmod(0o755)
    assert files(out.parent) == before
    assert "nothing is left to do" in said[0]


def test_resume_refuses_another_network_and_other_photos(net: cs.Network, photos: Path, out: Path) -> None:
    other = copy.deepcopy(net.module)
    with torch.no_grad():
        next(other.parameters())[0] += 1
    changed = cs.Network(other, net.preprocess, net.classes, net.name)
    with pytest.raises(ConvscopeError, match="another network"):
        cs.survey(changed, photos, out, resume=True)
    here = out.parent / "photos"
    shutil.copytree(photos, here, copy_function=shutil.copy)  # other times
    cs.survey(net, here, out, resume=True)
    Image.new("RGB", (14, 13)).save(here / "crane" / "01.png")
    with pytest.raises(ConvscopeError, match=r"crane/01\.png has changed"):
        cs.survey(net, here, out, resume=True)
    (here / "crane" / "01.png").unlink()
    with pytest.raises(ConvscopeError, match=r"crane/01\.png is gone"):
        cs.survey(net, here, out, resume=True)


def test_a_photo_that_was_skipped_and_is_mended_is_noticed(net: cs.Network, photos: Path, out: Path) -> None:
    here = out.parent / "photos"
    shutil.copytree(photos, here)
    cs.survey(net, here, out, resume=True)
    Image.new("RGB", (14, 13)).save(here / "crane" / "07.png")
    with pytest.raises(ConvscopeError, match=r"crane/07\.png has changed"):
        cs.survey(net, here, out, resume=True)


def test_another_version_is_no_hindrance_where_nothing_is_computed(
    net: cs.Network, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.dataset.plan_changes.versions", lambda: "convscope 9, torch 9")
    assert cs.survey(net, photos, out, resume=True).images == 23


def test_a_new_atlas_that_was_whole_under_other_options_is_not_put_in_its_place(
    net: cs.Network, photos: Path, finished: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(surveying, "swap_in", killed)
        with pytest.raises(StoppedError):
            cs.survey(net, photos, out, overwrite=True, **{**SMALL, "top": 2})
    with pytest.raises(ConvscopeError, match="begun with top 2, not with 4"):
        cs.survey(net, photos, out, overwrite=True, resume=True, **{**SMALL, "top": 4})
    assert differing(contents(out), contents(finished)) == []
    cs.survey(net, photos, out, overwrite=True, resume=True, **{**SMALL, "top": 2})
    assert len(cs.open_atlas(out).exemplars("conv1:0")) == 2


def test_resume_adds_the_deconvnet_pictures_that_were_not_asked_for(
    net: cs.Network, photos: Path, finished: Path, out: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    with locked(out), pytest.raises(ConvscopeError, match="is writing into"):
        cs.survey(net, photos, out, resume=True, deconv=True)
    cs.survey(net, photos, out, resume=True, deconv=True, on_note=said.append)
    at_once = cs.survey(net, photos, tmp_path / "y.atlas", deconv=True, **SMALL).path
    assert differing(contents(out), contents(at_once)) == []
    assert "deconvnet pictures were added" in said[-1]
    before = files(out)
    cs.survey(net, photos, out, resume=True, deconv=True, on_note=said.append)
    assert files(out) == before
    assert "nothing is left to do" in said[-1]


def test_projections_that_are_zero_are_not_made_again_and_again(photos: Path, tmp_path: Path) -> None:
    """Filters of conv2 that are all below 0: their signal ends at the rectifiers of conv1."""
    module = copy.deepcopy(nets.gap_linear(dtype=torch.float32))
    with torch.no_grad():
        module.conv2.weight.copy_(-module.conv2.weight.abs())
        module.conv2.bias.fill_(1000)
    net, out, said = friendly.network(lambda **_: module), tmp_path / "x.atlas", list[str]()
    atlas = cs.survey(net, photos, out, "conv2", **SMALL)
    for _ in range(2):
        cs.survey(net, photos, out, resume=True, deconv=True, on_note=said.append)
    assert ["were added" in line for line in said] == [True, False]
    assert "nothing is left to do" in said[-1]
    picture = atlas.picture("conv2:0", 0, "deconv")
    assert picture is not None
    assert set(picture.tobytes()) == {128}  # grey: nothing


# ---- one lock


@pytest.mark.parametrize("when", ["swap_in", "make_plan"])
def test_no_other_run_comes_between(
    net: cs.Network, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Before the swap, and while the new one is built, another overwriting run is refused; so is one that recovers."""
    real, tried = getattr(surveying, when), list[str]()

    def meanwhile(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(surveying, when, real)
        if when == "swap_in":
            out.rename(out.with_name(".x.atlas.old"))  # between the two renames
        with pytest.raises(ConvscopeError, match="is writing into"):
            cs.survey(net, photos, out, overwrite=True, **SMALL)
        tried.append(when)
        if when == "swap_in":
            out.with_name(".x.atlas.old").rename(out)
        return real(*args, **options)

    monkeypatch.setattr(surveying, when, meanwhile)
    cs.survey(net, photos, out, overwrite=True, **{**SMALL, "top": 2})
    assert tried == [when]
    assert len(cs.open_atlas(out).exemplars("conv1:0")) == 2
    assert [path.name for path in out.parent.iterdir()] == ["x.atlas"]
