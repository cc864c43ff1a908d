"""``survey``: one pass over a data set into an atlas that survives being killed at any moment.

    manifest (unfinished) -> plan -> parts, one a shard -> tables, features, pictures -> manifest (finished)

Each arrow is a rename, so that after a kill the folder is at one of these stages, and ``resume`` goes on from it: parts
that are there and whole are kept, whatever computed them, others are computed. The plan decides every number, so the
tables are the same after any number of interruptions, by any engine. A new atlas in the place of a finished one is
built beside it and swapped in when it is whole; in the place of an unfinished one it begins when its plan is made. A
refused survey leaves what was there.
"""

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convscope.atlases.deconvs_asked import refuse_deconvs
from convscope.atlases.finished_surveys import complete_deconvs, refuse_another
from convscope.atlases.survey_facts import Runs, about_atlas
from convscope.dataset.computing import Parts, compute
from convscope.dataset.engines import Engine, InProcess, ShardWork
from convscope.dataset.filling import Filling, NothingReadError, OnStage, untold
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.dataset.plan import IMAGES, OFFSETS, PLAN, Plan
from convscope.dataset.plan_changes import refuse_changed
from convscope.dataset.planning import make_plan
from convscope.dataset.ranks import OtherRankError, Ranks, ranks
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pictures import SUFFIXES
from convscope.store.atlas import Atlas, open_atlas
from convscope.store.atlas_folder import LOCK, beside, folder_for, locked, swap_in
from convscope.store.manifest import ATLAS, MANIFEST, Manifest, read_manifest, write_manifest
from convscope.store.parts import PARTS, present, remove_parts
from convscope.writing import UnwritableError, remove_asides

Say = Callable[[str], None]
_PLANNING = ".plan"  # a plan in the making: what is refused while planning leaves what was there


def survey(
    net: Network,
    data: object,
    out: str | Path,
    layers: Sequence[str] | str | None = None,
    top: int | None = None,
    *,
    labels: str | None = None,
    per_image: int | None = None,
    batch: int | None = None,
    shard: int | None = None,
    features: int | None = None,
    patterns: Sequence[str] | str | None = None,
    pictures: bool | None = None,
    deconv: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    engine: Engine | None = None,
    threads: int | None = None,
    on_step: OnStage | None = None,
    on_note: Say | None = None,
) -> Atlas:
    """Survey a data set: every unit's exemplars and statistics, and what the network answers, in one pass.

    An option that is None has its default; with ``resume`` it is what the survey was begun with.

    Args:
        net: from ``load``.
        data: a folder of pictures (flat or class folders), a zip or tar of them, ``hf:NAME``, a Dataset, a list.
        out: the atlas's folder, ``NAME.atlas``.
        layers: names, patterns (``features.*``) or ``"all"``; None: every convolution that runs.
        top: exemplars a unit; None: 9.
        labels: where the right answers are: ``auto`` (as None), ``folders``, ``names``, ``groups`` or ``none``.
        per_image: exemplars that one image may give a unit; None: 1.
        batch: images a pass; None: 8 of 224 x 224 pixels, more of smaller ones, 64 at most.
        shard: images a part: what a kill costs; None: 256.
        features: images whose pooled activations are kept, at most; None: 4096.
        patterns: layers whose mean maps a class are kept; None: the last one.
        pictures: cut the exemplars out of the photos; None: yes.
        deconv: make each exemplar's deconvnet picture as well; on a finished atlas those that it lacks.
        resume: go on where it was stopped; starts where there is nothing, and does nothing where it is finished.
        overwrite: take the place of an atlas that is there; the old one stays until the new one is whole.
        engine: who computes the shards; None is this process, or torchrun's where it was started by that.
        threads: batches at once; None is the number of cores.
        on_step: called with (what is done, done, all).
        on_note: told what the user should know.

    Raises:
        ConvscopeError: anything in this that does not exist or does not fit; an atlas that is there, and neither
            ``resume`` nor ``overwrite``; on ``resume``, other data, another network or other options than before.
        UnwritableError: a full disk; an old atlas stays as it was, a new one goes on with ``resume``.
    """
    every = {
        "layers": layers, "top": top, "per_image": per_image, "batch": batch, "shard": shard, "features": features,
        "patterns": patterns, "labels": labels,
    }  # fmt: skip
    asked = {name: value for name, value in every.items() if value is not None}
    folder = Path(out)
    engine = engine or ranks() or InProcess()
    mine = engine if isinstance(engine, Ranks) else None
    how = _How(pictures, deconv, resume, overwrite, threads, on_step or untold, on_note or _unsaid)
    with mine.telling_of_failure() if mine else nullcontext():
        source = source_of(data, besides=folder)
        if mine is not None and mine.rank > 0:
            return _joined(net, source, folder, mine, how)
        return _Survey(net, source, folder, engine, how, asked).made()


def _unsaid(_text: str) -> None:
    pass


@dataclass(frozen=True)
class _How:
    """What of a survey changes none of its numbers."""

    pictures: bool | None
    deconv: bool
    resume: bool
    overwrite: bool
    threads: int | None
    step: OnStage
    note: Say


@dataclass(frozen=True, eq=False)
class _Survey:
    """A survey in the process that plans and reduces."""

    net: Network
    source: ImageSource
    folder: Path
    engine: Engine
    how: _How
    asked: Mapping[str, Any]

    def made(self) -> Atlas:
        if self._stands(_state(self.folder, self.how)) and not self.how.deconv:
            self._keep()  # without the lock: the atlas may lie where nobody can write
        else:
            with locked(self.folder):
                there = _state(self.folder, self.how)  # as it is now that nobody else changes it
                if self._stands(there):
                    self._keep()
                else:
                    self._make(replaces=there is not None and there.is_finished)
        if isinstance(self.engine, Ranks):
            self.engine.tell("planned", "")  # whoever has not begun has nothing to do
            self.engine.tell("finished")
        return open_atlas(self.folder)

    def _stands(self, there: Manifest | None) -> bool:
        return there is not None and there.is_finished and not self.how.overwrite

    def _keep(self) -> None:
        """A finished atlas stays, if it is what is asked for."""
        atlas = refuse_another(self.folder, self.net, self.source, self.asked, pictures=self.how.pictures)
        remove_parts(self.folder)  # of a run that was killed between its last two steps
        made = complete_deconvs(atlas, self.net, self.source, self.how.step) if self.how.deconv else 0
        left = f"{made:,} deconvnet pictures were added" if made else "nothing is left to do"
        self.how.note(f"{self.folder} is finished: {left} (--overwrite makes it anew)")

    def _make(self, *, replaces: bool) -> None:
        building = beside(self.folder) if replaces else self.folder
        with folder_for(building), _cleaned(building, self.how.note):
            built = read_manifest(building)
            if replaces and self.how.resume and built is not None and built.is_finished:
                refuse_another(building, self.net, self.source, self.asked, pictures=self.how.pictures)
            else:
                self._build(building)
        if replaces:
            swap_in(building, self.folder)

    def _build(self, building: Path) -> None:
        plan, runs = self._planned(building)
        if isinstance(self.engine, Ranks):
            self.engine.tell("planned", str(building.absolute()))
        parts = Parts(building, plan)
        compute(parts, ShardWork(self.net, self.source, plan, self.how.threads), self.engine, self.how.step)
        about = about_atlas(self.net, self.source, plan)
        Filling(
            self.net, self.source, plan, building, parts.read, about, self.how.pictures is not False,
            self.how.deconv, self.how.threads, self.how.step,
        ).fill(runs.rows(plan.shards))  # fmt: skip
        write_manifest(building, Manifest("finished", plan.fingerprint, {**about, **runs.kept()}))
        remove_parts(building)

    def _planned(self, building: Path) -> tuple[Plan, Runs]:
        """The plan: the one that is there on ``resume``, else a new one."""
        for place in (building, building / PARTS):
            remove_asides(place)
        there = read_manifest(building)
        runs = Runs.of(there, self.engine.name, building)
        if there is not None and self.how.resume and (building / PLAN).is_file():
            plan = Plan.load(building)
            refuse_changed(plan, self.source, self.net, Parts(building, plan).digests, dict(self.asked))
            if self.how.deconv:
                refuse_deconvs(self.net, self.source, plan.layers)
            done = len(present(building, plan.fingerprint, thorough=False))
            self.how.note(f"goes on with {building}: {done} of {plan.shards} parts are there")
        else:
            plan = self._new_plan(building, runs)
        write_manifest(building, Manifest("unfinished", plan.fingerprint, runs.kept()))
        return plan, runs

    def _new_plan(self, building: Path, runs: Runs) -> Plan:
        """A plan in the place of whatever is there, which stays where that is refused."""
        aside = building / _PLANNING
        shutil.rmtree(aside, ignore_errors=True)
        try:
            plan, notes = make_plan(self.net, self.source, aside, **self.asked)
            if self.how.deconv:
                refuse_deconvs(self.net, self.source, plan.layers)
            write_manifest(building, Manifest("unfinished", "", runs.kept()))  # first: a kill leaves what resume knows
            (building / PLAN).unlink(missing_ok=True)
            _emptied(building, but=(MANIFEST, _PLANNING))
            for name in (IMAGES, OFFSETS, PLAN):
                (aside / name).replace(building / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        for note in notes:
            self.how.note(note)
        return replace(plan, folder=building)


def _joined(net: Network, source: ImageSource, folder: Path, mine: Ranks, how: _How) -> Atlas:
    """A rank other than the first: computes its share of what that one planned, and waits for the end."""
    building = mine.wait_for("planned")
    if building:
        plan = Plan.load(Path(building))
        compute(Parts(plan.folder, plan), ShardWork(net, source, plan, how.threads), mine, how.step)
    mine.wait_for("finished")
    return open_atlas(folder)


def _state(folder: Path, how: _How) -> Manifest | None:
    """What is at ``folder``; None: nothing.

    Raises:
        ConvscopeError: something that is no atlas, or an atlas and neither ``resume`` nor ``overwrite``.
    """
    there = read_manifest(folder)
    if there is None:
        ATLAS.refuse_other(folder)
        if folder.suffix.lower() in SUFFIXES:
            raise ConvscopeError(
                f"{folder} is the name of a picture; an atlas is a folder, such as {folder.with_suffix('.atlas')}"
            )
    elif not (how.resume or how.overwrite):
        ATLAS.refuse_taken(folder, is_finished=there.is_finished)
    return there


def _emptied(folder: Path, *, but: Sequence[str] = ()) -> None:
    """Throw away an unfinished atlas."""
    for path in folder.iterdir():
        if path.name in (LOCK, *but):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _cleaned(building: Path, note: Say) -> Generator[None]:
    """What is left in the folder where the block fails: of a refused survey nothing, of a broken one what was done."""
    had_plan = (building / PLAN).is_file()
    try:
        yield
    except (UnwritableError, OtherRankError, KeyboardInterrupt):
        if (building / PLAN).is_file():
            note("the same command with --resume goes on from here")
        else:  # nothing to go on from
            _emptied(building)
        raise
    except NothingReadError:
        _emptied(building)
        raise
    except ConvscopeError:
        if not had_plan and not _has_parts(building):
            _emptied(building)
        raise


def _has_parts(building: Path) -> bool:
    return next((building / PARTS).glob("*.safetensors"), None) is not None
