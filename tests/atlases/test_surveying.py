"""``survey``: what an atlas says is what a loop over all images says, however the survey came about."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases import surveying
from convscope.dataset.engines import InProcess
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.taps import tap
from convscope.store import parts
from convscope.store.atlas_folder import locked
from convscope.store.manifest import read_manifest
from convscope.writing import UnwritableError
from tests import friendly, nets
from tests.atlases.surveyed import CLASSES, SMALL, StoppedError, contents, differing, photo_folder, stopping

# ---- what it says


def test_exemplars_and_statistics_are_those_of_a_loop_over_all_images(
    net: cs.Network, photos: Path, finished: Path
) -> None:
    atlas = cs.open_atlas(finished)
    names = [p.relative_to(photos).as_posix() for p in sorted(photos.glob("*/*.png")) if p.name != "07.png"]
    with evaluation(net.module), torch.no_grad():
        for layer in ("conv1", "conv2"):
            maps = []
            for name in names:
                with tap(net.module, layer) as seen:
                    net.module(net.input_of(cs.read_image(photos / name)))
                maps.append(seen[layer][0].double())
            every = torch.stack(maps)  # (n, u, h, w)
            for unit in range(every.shape[1]):
                values, places = every[:, unit].flatten(1).max(1)
                order = sorted(range(len(names)), key=lambda n: (-values[n], n))[:3]
                width = every.shape[3]
                found = atlas.exemplars(f"{layer}:{unit}")
                assert [row[1:] for row in found] == [
                    (names[n], int(places[n]) // width, int(places[n]) % width) for n in order
                ]
                assert np.allclose([row[0] for row in found], values[order], atol=1e-5)
                said = atlas.statistics(f"{layer}:{unit}")
                assert said["count"] == every[:, unit].numel()
                assert said["mean"] == pytest.approx(every[:, unit].mean().item(), abs=1e-6)
                assert said["variance"] == pytest.approx(every[:, unit].var(correction=0).item(), rel=1e-5)
                assert said["maximum"] == pytest.approx(every[:, unit].max().item(), abs=1e-6)
                of_class = [n for n, name in enumerate(names) if name.startswith("tabby/")]
                mean = every[of_class, unit].mean().item()
                assert said["by_class"]["tabby"]["mean"] == pytest.approx(mean, abs=1e-6)


def test_answers_features_and_what_was_skipped(net: cs.Network, photos: Path, finished: Path) -> None:
    atlas = cs.open_atlas(finished)
    assert atlas.classes == CLASSES
    assert [name for name, _ in atlas.skipped] == ["crane/07.png"]
    assert "07.png is not a picture" in atlas.skipped[0][1]
    names = [p.relative_to(photos).as_posix() for p in sorted(photos.glob("*/*.png")) if p.name != "07.png"]
    assert atlas.images == len(names)
    answered = {name: cs.predict(net, photos / name).top[0][0] for name in names}
    for data_class in CLASSES:
        of_class = [name for name in names if name.startswith(f"{data_class}/")]
        assert atlas.accuracy()[data_class] == (sum(answered[n] == data_class for n in of_class), len(of_class))
        best = atlas.prototypes(data_class)["least loss"]
        assert best[0]["loss"] == min(row["loss"] for row in best)
        assert {row["image"] for row in best} <= set(of_class)
    ids, features = atlas.features("conv2")
    listed = [p.relative_to(photos).as_posix() for p in sorted(photos.glob("*/*.png"))]
    assert ids == [name for number, name in enumerate(listed) if number % 4 == 0]
    with tap(net.module, "conv2") as seen, evaluation(net.module), torch.no_grad():
        net.module(net.input_of(cs.read_image(photos / ids[2])))
    assert np.allclose(features[2], seen["conv2"].mean((0, 2, 3)), atol=1e-6)
    assert atlas.mean_patterns("conv2", "tabby").shape[0] == 8


def test_pictures_are_there_for_every_exemplar(finished: Path) -> None:
    atlas = cs.open_atlas(finished)
    for layer in atlas.layers:
        for unit in atlas.units(layer.name):
            for rank, (y0, x0, y1, x1) in enumerate(atlas.boxes(unit)):
                crop = atlas.picture(unit, rank, "crop")
                assert crop is not None
                assert crop.size == (x1 - x0, y1 - y0)
                assert atlas.picture(unit, rank, "context") is not None
    named = {row["file"] for layer in atlas.layers for row in atlas.sprites(layer.name)}
    assert all((finished / "images" / name).is_file() for name in named)
    assert len(named) == len(atlas.layers)


def test_the_folder_is_tidy_afterwards(finished: Path) -> None:
    assert not (finished / "parts").exists()
    assert not [path for path in finished.iterdir() if path.name.startswith(".")]
    (run,) = cs.open_atlas(finished).runs
    assert (run["engine"], run["shards"]) == ("in process", 5)


def test_everything_is_on_the_disk_before_it_is_called_finished(
    net: cs.Network, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[bool, bool]] = []

    def synced() -> None:
        out = tmp_path / "x.atlas"
        found.append(((out / "atlas.sqlite").exists(), read_manifest(out).is_finished))

    monkeypatch.setattr("os.sync", synced)
    cs.survey(net, photos, tmp_path / "x.atlas", **SMALL)
    assert found == [(True, False)]


def test_images_that_keep_their_sizes_have_boxes_in_their_own_input(photos: Path, tmp_path: Path) -> None:
    free = friendly.network(preprocess=cs.Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3))
    atlas = cs.survey(free, photos, tmp_path / "x.atlas", "conv1", **SMALL)
    for unit in atlas.units("conv1"):
        for (_, name, y, x), (y0, x0, y1, x1) in zip(atlas.exemplars(unit), atlas.boxes(unit), strict=True):
            width, height = cs.read_image(photos / name).size
            assert (y0, x0, y1, x1) == (max(y - 1, 0), max(x - 1, 0), min(y + 2, height), min(x + 2, width))


# ---- however it came about


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path, threads: int
) -> None:
    cs.survey(net, photos, tmp_path / "x.atlas", threads=threads, **SMALL)
    assert differing(contents(tmp_path / "x.atlas"), contents(finished)) == []


def test_other_batches_and_shards_give_the_same_exemplars(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    other = cs.survey(net, photos, tmp_path / "x.atlas", shard=24, batch=7, top=3, features=6)
    atlas = cs.open_atlas(finished)
    for unit in [*atlas.units("conv1"), *atlas.units("conv2")]:
        assert [row[1:] for row in other.exemplars(unit)] == [row[1:] for row in atlas.exemplars(unit)]
        values = [[row[0] for row in each.exemplars(unit)] for each in (other, atlas)]
        assert np.allclose(*values, atol=1e-5)


def test_a_survey_that_is_broken_off_anywhere_goes_on_to_the_same_atlas(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    expected, out = contents(finished), tmp_path / "x.atlas"
    for after in range(1, 60):
        try:
            cs.survey(net, photos, out, resume=True, on_step=stopping(after), threads=1, **SMALL)
            break
        except StoppedError:
            assert not (out / "atlas.sqlite").exists()
    else:
        pytest.fail("it never ended")
    assert after > 20  # it was stopped in every stage
    assert differing(contents(out), expected) == []
    runs = cs.open_atlas(out).runs
    assert len(runs) == after
    assert sum(run["shards"] for run in runs) == 5


def test_a_corrupt_part_is_computed_again(net: cs.Network, photos: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, on_step=stopping(14), threads=1, **SMALL)
    path = parts.part_path(out, 1)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    shutil.copy(path, parts.part_path(out, 4))  # another shard's
    cs.survey(net, photos, out, resume=True, **SMALL)
    assert differing(contents(out), contents(finished)) == []


def test_a_part_that_is_damaged_while_others_are_computed_is_computed_again(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    class Damaging(InProcess):
        def run(self, shards, work, keep) -> None:
            def damaged(shard, tensors) -> None:
                keep(shard, tensors)
                if shard.number == 2 and not (tmp_path / "done").exists():
                    (tmp_path / "done").touch()
                    parts.part_path(tmp_path / "x.atlas", 2).write_bytes(b"no part")

            super().run(shards, work, damaged)

    cs.survey(net, photos, tmp_path / "x.atlas", engine=Damaging(), **SMALL)
    assert differing(contents(tmp_path / "x.atlas"), contents(finished)) == []


def test_the_others_results_are_the_same_without_the_corrupt_image(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "crane" / "07.png").unlink()
    one = cs.survey(net, tmp_path / "photos", tmp_path / "x.atlas", shard=24, batch=1, top=3)
    other = cs.survey(net, photos, tmp_path / "y.atlas", shard=24, batch=1, top=3)
    for unit in one.units("conv2"):
        assert one.exemplars(unit) == other.exemplars(unit)
        assert one.statistics(unit)["mean"] == other.statistics(unit)["mean"]
        assert one.statistics(unit)["variance"] == other.statistics(unit)["variance"]


# ---- what is there already


def test_resume_starts_where_there_is_nothing_and_does_nothing_where_it_is_finished(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    cs.survey(net, photos, tmp_path / "x.atlas", resume=True, on_note=said.append, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "x.atlas").rglob("*")}
    atlas = cs.survey(net, photos, tmp_path / "x.atlas", resume=True, on_note=said.append, **SMALL)
    assert atlas.images == 23
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "x.atlas").rglob("*")} == before
    assert len(said) == 1
    assert "nothing is left to do" in said[0]


def test_an_atlas_that_is_there_is_refused_and_stays(net: cs.Network, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, on_step=stopping(9), threads=1, **SMALL)
    with pytest.raises(ConvscopeError, match="is not finished: --resume goes on with it, --overwrite begins anew"):
        cs.survey(net, photos, out, **SMALL)
    cs.survey(net, photos, out, resume=True, **SMALL)
    expected = contents(out)
    with pytest.raises(ConvscopeError, match=r"is there already: --resume .*, --overwrite"):
        cs.survey(net, photos, out, **SMALL)
    assert differing(contents(out), expected) == []


def test_overwriting_keeps_the_old_atlas_until_the_new_one_is_whole(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.atlas"
    shutil.copytree(finished, out)
    other = {**SMALL, "top": 2}
    for after in (3, 12, 22, 30):
        with pytest.raises(StoppedError):
            cs.survey(net, photos, out, overwrite=True, on_step=stopping(after), threads=1, **other)
        assert differing(contents(out), contents(finished)) == []
    cs.survey(net, photos, out, overwrite=True, resume=True, **other)
    assert len(cs.open_atlas(out).exemplars("conv1:0")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x.atlas"]


def test_a_new_atlas_that_was_whole_when_it_was_killed_is_only_put_in_its_place(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.atlas"
    shutil.copytree(finished, out)

    def killed(*_: object) -> None:
        raise StoppedError

    other = {**SMALL, "top": 2}
    with monkeypatch.context() as patched:
        patched.setattr(surveying, "swap_in", killed)
        with pytest.raises(StoppedError):
            cs.survey(net, photos, out, overwrite=True, **other)
    assert len(cs.open_atlas(out).exemplars("conv1:0")) == 3
    with monkeypatch.context() as patched:
        patched.setattr(surveying, "compute", killed)  # not again
        cs.survey(net, photos, out, overwrite=True, resume=True, **other)
    assert len(cs.open_atlas(out).exemplars("conv1:0")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x.atlas"]


def test_parts_that_a_kill_left_in_a_finished_atlas_go(
    net: cs.Network, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.atlas"

    def killed(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(surveying, "remove_parts", killed)
        with pytest.raises(StoppedError):
            cs.survey(net, photos, out, **SMALL)
    assert (out / "parts").exists()
    cs.survey(net, photos, out, resume=True, **SMALL)
    assert not (out / "parts").exists()


def test_overwriting_an_unfinished_one_begins_anew(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, photos, out, on_step=stopping(9), threads=1, **{**SMALL, "top": 2})
    cs.survey(net, photos, out, overwrite=True, **SMALL)
    assert differing(contents(out), contents(finished)) == []


def test_two_runs_in_one_folder_the_second_is_refused(net: cs.Network, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.atlas"
    with locked(out), pytest.raises(ConvscopeError, match="is writing into"):
        cs.survey(net, photos, out, **SMALL)
    cs.survey(net, photos, out, **SMALL)
    with locked(out), pytest.raises(ConvscopeError, match="is writing into"):
        cs.survey(net, photos, out, overwrite=True, **SMALL)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_or_file_that_is_no_atlas_is_not_touched(
    net: cs.Network, photos: Path, tmp_path: Path, resume: bool
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("mine")
    with pytest.raises(ConvscopeError, match="is no atlas, and not empty"):
        cs.survey(net, photos, tmp_path / "own", resume=resume, overwrite=True, **SMALL)
    with pytest.raises(ConvscopeError, match="is a file; an atlas is a folder"):
        cs.survey(net, photos, tmp_path / "own" / "thesis.tex", resume=resume, **SMALL)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["thesis.tex"]


def test_an_atlas_among_its_own_photos_is_none_of_them(net: cs.Network, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    out = tmp_path / "photos" / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, tmp_path / "photos", out, on_step=stopping(40), threads=1, **SMALL)
    assert cs.survey(net, tmp_path / "photos", out, resume=True, **SMALL).images == 23


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": "conv11"}, "did you mean 'conv1'"),
        ({"labels": "folder"}, "folder"),
        ({"top": 0}, "top=0"),
        ({"batch": 0}, "batch=0"),
        ({"out": "cat.PNG"}, r"cat\.PNG is the name of a picture; an atlas is a folder, such as .*cat\.atlas"),
    ],
)
def test_a_refused_survey_leaves_nothing(net: cs.Network, photos: Path, tmp_path: Path, options, said: str) -> None:
    with pytest.raises(ConvscopeError, match=said):
        cs.survey(net, photos, tmp_path / "new" / options.pop("out", "x.atlas"), **{**SMALL, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resumed", [False, True])
def test_deconvnet_pictures_that_cannot_be_had_are_refused_before_the_pass(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    mixed, out = friendly.network(nets.hardswish_mix), tmp_path / "x.atlas"
    if resumed:
        with pytest.raises(StoppedError):
            cs.survey(mixed, photos, out, on_step=stopping(14), threads=1, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    monkeypatch.setattr(surveying, "compute", None)
    with pytest.raises(ConvscopeError, match=r"no deconvnet pictures of '2': .*Hardswish.*; survey other layers, or"):
        cs.survey(mixed, photos, out, resume=resumed, deconv=True, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before
    assert out.exists() == resumed


def test_a_plan_that_cannot_be_written_leaves_nothing_beside_the_old_atlas(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise UnwritableError("cannot write plan.json: No space left on device")

    shutil.copytree(finished, tmp_path / "x.atlas")
    monkeypatch.setattr(surveying, "make_plan", full)
    with pytest.raises(UnwritableError):
        cs.survey(net, photos, tmp_path / "x.atlas", overwrite=True, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["x.atlas"]
    assert differing(contents(tmp_path / "x.atlas"), contents(finished)) == []


def test_nothing_but_corrupt_images_is_refused_and_leaves_nothing(net: cs.Network, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ConvscopeError, match="none of the 1"):
        cs.survey(net, tmp_path / "in", tmp_path / "x.atlas")
    with pytest.raises(ConvscopeError, match="there is no"):
        cs.survey(net, tmp_path / "inn", tmp_path / "x.atlas")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_another_network_or_other_photos_are_noticed(net: cs.Network, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    out = tmp_path / "x.atlas"
    with pytest.raises(StoppedError):
        cs.survey(net, tmp_path / "photos", out, on_step=stopping(9), threads=1, **SMALL)
    other = copy.deepcopy(net.module)
    with torch.no_grad():
        next(other.parameters())[0] += 1
    changed = cs.Network(other, net.preprocess, net.classes, net.name)
    with pytest.raises(ConvscopeError, match="another network"):
        cs.survey(changed, tmp_path / "photos", out, resume=True, **SMALL)
    with pytest.raises(ConvscopeError, match="top"):
        cs.survey(net, tmp_path / "photos", out, resume=True, **{**SMALL, "top": 4})
    first = tmp_path / "photos" / "crane" / "00.png"
    content = first.read_bytes()
    first.write_bytes((tmp_path / "photos" / "crane" / "01.png").read_bytes())
    with pytest.raises(ConvscopeError, match=r"crane/00\.png has changed"):
        cs.survey(net, tmp_path / "photos", out, resume=True, **SMALL)
    first.write_bytes(content)
    assert cs.survey(net, tmp_path / "photos", out, resume=True, **SMALL).images == 23


@pytest.mark.parametrize("where", ["write_part", "writing_tables"])
def test_a_full_disk_leaves_the_old_atlas_and_resume_goes_on(
    net: cs.Network, photos: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    out = tmp_path / "x.atlas"
    shutil.copytree(finished, out)
    other = {**SMALL, "top": 2}
    from convscope.dataset import computing, filling

    module = computing if where == "write_part" else filling
    write, calls = getattr(module, where), []

    def full(*args, **options):
        calls.append(args)
        if where == "write_part" and len(calls) < 4:
            return write(*args, **options)
        raise UnwritableError("cannot write: No space left on device")

    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(module, where, full)
        with pytest.raises(UnwritableError, match="No space"):
            cs.survey(net, photos, out, overwrite=True, on_note=said.append, **other)
    assert "--resume" in said[-1]
    assert differing(contents(out), contents(finished)) == []
    cs.survey(net, photos, out, overwrite=True, resume=True, on_note=said.append, **other)
    assert said[-1].endswith(f"{3 if where == 'write_part' else 5} of 5 parts are there")
    assert len(cs.open_atlas(out).exemplars("conv1:0")) == 2


def test_a_network_that_was_loaded_can_be_loaded_again_and_a_live_module_cannot(tmp_path: Path) -> None:
    photo_folder(tmp_path / "in", 3)
    live = cs.survey(friendly.network(), tmp_path / "in", tmp_path / "live.atlas", **SMALL)
    assert live.about["network"]["spec"] is None
    loaded = cs.survey(cs.load(), tmp_path / "in", tmp_path / "b.atlas", "features.0", labels="none", **SMALL)
    assert loaded.about["network"]["spec"] == "bundled:tiny50"
    assert loaded.about["stamp"]["command"] == ""


def test_a_photo_that_has_changed_since_the_pass_gives_no_crops(net: cs.Network, tmp_path: Path) -> None:
    photos, out = photo_folder(tmp_path / "photos"), tmp_path / "made.atlas"

    def change(what: str, done: int, every: int) -> None:
        if what == "reduce layers" and done == every:
            for path in photos.glob("*/*.png"):
                Image.new("RGB", (14, 13)).save(path)

    with pytest.raises(ConvscopeError, match="not the picture that it was"):
        cs.survey(net, photos, out, **SMALL, on_step=change)
    with pytest.raises(ConvscopeError, match="not finished"):
        cs.open_atlas(out)
