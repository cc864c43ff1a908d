"""The example scripts as modules, and the network of each trained once a run, however many workers there are."""

import fcntl
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.untouched import watch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script(name: str) -> ModuleType:
    """An example as a module; it finds ``scenes`` beside itself, as it does when it runs as a script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        return importlib.import_module(name)


def trained(example: ModuleType, model: type[nn.Module], things: list[int], shared_folder: Path) -> nn.Module:
    """The network that the script trains on scenes of so many things."""
    return once(example, model, lambda: example.train(example.make_scenes(2000, seed=0, things=things)), shared_folder)


def once(
    example: ModuleType, model: Callable[[], nn.Module], train: Callable[[], nn.Module], shared_folder: Path
) -> nn.Module:
    """The first worker to come trains, the others wait for its weights."""
    weights = shared_folder / f"{example.__name__}.safetensors"
    with (shared_folder / f"{example.__name__}.lock").open("w") as lock, torch.random.fork_rng(devices=[]):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not weights.exists():
            save_file(train().state_dict(), weights)
        fresh = model()
    fresh.load_state_dict(load_file(weights))
    return watch(fresh.eval())


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def answerer(run_folder: Path) -> nn.Module:
    example = script("question_answering")
    return trained(example, example.Answerer, list(example.COUNTS), run_folder)


@pytest.fixture(scope="session")
def captioner(run_folder: Path) -> nn.Module:
    example = script("captions")
    return trained(example, example.Captioner, [2], run_folder)


@pytest.fixture(scope="session")
def digits_reader(run_folder: Path) -> nn.Module:
    example = script("digits")
    return once(example, example.network, lambda: example.train(*example.read_digits()[0]), run_folder)
