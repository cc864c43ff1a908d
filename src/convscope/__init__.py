"""convscope: make any PyTorch CNN open to look into.

    import convscope as cs
    net = cs.load("torchvision:resnet50")
    photo = cs.read_image("dog.jpg")
    cs.explain(net, photo, method="grad-cam", target="golden retriever").show()

``convscope.attribution`` has the same methods for plain modules and tensors. Nothing heavy is imported until the
first of these names is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope.answers import predict as predict
    from convscope.api import explain as explain
    from convscope.atlases.surveying import survey as survey
    from convscope.audits.auditing import audit as audit
    from convscope.errors import ConvscopeError as ConvscopeError
    from convscope.network.loading import Network as Network
    from convscope.network.loading import load as load
    from convscope.network.pictures import read_image as read_image
    from convscope.network.preprocessing import Preprocess as Preprocess
    from convscope.optimised.dreams import Dream as Dream
    from convscope.optimised.dreams import dream as dream
    from convscope.optimised.inversions import invert as invert
    from convscope.optimised.one_inversion import Inversion as Inversion
    from convscope.optimised.unit_pictures import Pictures as Pictures
    from convscope.optimised.unit_pictures import visualize as visualize
    from convscope.results import Explanation as Explanation
    from convscope.results import Prediction as Prediction
    from convscope.store.atlas import Atlas as Atlas
    from convscope.store.atlas import open_atlas as open_atlas
    from convscope.training.probe import Probe as Probe
    from convscope.trainings.making import train as train
    from convscope.trainings.training_run import TrainingRun as TrainingRun
    from convscope.trainings.training_run import open_training as open_training
    from convscope.views.feature_maps import FeatureMaps as FeatureMaps
    from convscope.views.feature_maps import features as features
    from convscope.views.filter_tiles import FilterTiles as FilterTiles
    from convscope.views.filter_tiles import filters as filters
    from convscope.views.unit_effects import Ablation as Ablation
    from convscope.views.unit_effects import ablate as ablate

_HOME = {
    "Ablation": "convscope.views.unit_effects",
    "Atlas": "convscope.store.atlas",
    "ConvscopeError": "convscope.errors",
    "Dream": "convscope.optimised.dreams",
    "Explanation": "convscope.results",
    "FeatureMaps": "convscope.views.feature_maps",
    "FilterTiles": "convscope.views.filter_tiles",
    "Inversion": "convscope.optimised.one_inversion",
    "Network": "convscope.network.loading",
    "Pictures": "convscope.optimised.unit_pictures",
    "Prediction": "convscope.results",
    "Preprocess": "convscope.network.preprocessing",
    "Probe": "convscope.training.probe",
    "TrainingRun": "convscope.trainings.training_run",
    "ablate": "convscope.views.unit_effects",
    "audit": "convscope.audits.auditing",
    "dream": "convscope.optimised.dreams",
    "explain": "convscope.api",
    "features": "convscope.views.feature_maps",
    "filters": "convscope.views.filter_tiles",
    "invert": "convscope.optimised.inversions",
    "load": "convscope.network.loading",
    "open_atlas": "convscope.store.atlas",
    "open_training": "convscope.trainings.training_run",
    "predict": "convscope.answers",
    "read_image": "convscope.network.pictures",
    "survey": "convscope.atlases.surveying",
    "train": "convscope.trainings.making",
    "visualize": "convscope.optimised.unit_pictures",
}

_PACKAGES = ("attribution", "network", "render")

__all__ = [
    "Ablation",
    "Atlas",
    "ConvscopeError",
    "Dream",
    "Explanation",
    "FeatureMaps",
    "FilterTiles",
    "Inversion",
    "Network",
    "Pictures",
    "Prediction",
    "Preprocess",
    "Probe",
    "TrainingRun",
    "ablate",
    "audit",
    "dream",
    "explain",
    "features",
    "filters",
    "invert",
    "load",
    "open_atlas",
    "open_training",
    "predict",
    "read_image",
    "survey",
    "train",
    "visualize",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"convscope.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'convscope' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES]
