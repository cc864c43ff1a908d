"""Whether a survey may go on, or is what is asked for: refused where network, images or something asked is another.

The list of images is compared by id as it streams by; of an image whose size or time of change differs, the content is
compared with the digest that its finished shard recorded (a copied folder has new times and the same bytes). A shard
that is not finished has seen nothing yet: its images may have changed. A source that knows neither size nor time, such
as photos in memory, has the first, middle and last image of every finished shard read again.

Of the options only those that are given are compared: the others are as they were.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from typing import Any, cast

from convscope.dataset.image_sources import ImageSource
from convscope.dataset.plan import Plan
from convscope.dataset.planning import planned_settings, preprocess_text
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.stamps import versions

Digests = Callable[[int], Mapping[int, bytes]]  # shard -> digests by image number; empty: not finished
WAY_OUT = "begin anew with --overwrite"
_SETTINGS = {  # keyword of make_plan -> (field of the plan, what to call it)
    "layers": (("layers", "the layers"),),
    "top": (("top", "top"),),
    "per_image": (("per_image", "per_image"),),
    "batch": (("batch", "batches of"),),
    "shard": (("shard_size", "shards of"),),
    "features": (("features", "features of"),),
    "patterns": (("pattern_layers", "patterns of"),),
    "labels": (("labels", "labels from"), ("classes", "the classes"), ("right", "the classes")),
}


def refuse_changed(
    plan: Plan,
    source: ImageSource,
    net: Network,
    digests: Digests,
    asked: Mapping[str, Any] | None = None,
    *,
    finished: bool = False,
) -> None:
    """Refuse to go on with a plan under which something else has changed; see the module's docstring.

    Args:
        plan: as loaded from the atlas's folder.
        source: the data as they are now.
        net: the network as it is now.
        digests: of a shard's images, by their numbers, as its part recorded them.
        asked: keywords of ``make_plan`` that are given now; None: whatever the plan says.
        finished: nothing will be computed any more, so that another version of the libraries does no harm.

    Raises:
        ConvscopeError: what has changed, by name.
    """
    _refuse_other_network(plan, net, finished=finished)
    digests = lru_cache(maxsize=1)(digests)  # of a copied folder all images are doubtful, a shard's one after the other
    for number, (name, _, *facts) in _refusing_other_images(plan, source):
        shard = number // plan.shard_size
        now = source.facts(name)
        if _is_doubtful(plan, number, tuple(facts), now):
            seen = digests(shard).get(number)
            if seen is None:  # not computed yet; of a finished survey one that was skipped
                is_another = finished and facts[0] != now[0]
            else:
                is_another = any(seen) and _digest(source, name) != seen
            if is_another:
                raise ConvscopeError(f"the image {name} has changed since its part was computed; {WAY_OUT}")
    if asked:
        _refuse_other_settings(plan, planned_settings(net, source, **_filled(plan, asked)), asked)


def _filled(plan: Plan, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was not asked for as the plan has it."""
    planned: dict[str, Any] = {keyword: getattr(plan, fields[0][0]) for keyword, fields in _SETTINGS.items()}
    if plan.labels == "own":  # no word for it but this
        planned["labels"] = "auto"
    if "layers" in asked:  # the plan's need not be among them
        planned["patterns"] = None
    return planned | dict(asked)


def _refuse_other_network(plan: Plan, net: Network, *, finished: bool) -> None:
    now = {
        "network": (plan.model, net.fingerprint),
        "preprocessing": (plan.preprocess, preprocess_text(net)),
        "list of class names": (plan.network_classes, net.classes),
        "version": (plan.versions, versions()),
    }
    for what, (before, after) in now.items():
        if before != after and not (finished and what == "version"):
            how = f" ({before}, now {after})" if what in ("preprocessing", "version") else f" ({plan.model_name})"
            raise ConvscopeError(f"the survey was begun with another {what}{how}; {WAY_OUT}")


def _refuse_other_settings(plan: Plan, now: Plan, asked: Mapping[str, Any]) -> None:
    for name, what in (each for keyword, fields in _SETTINGS.items() if keyword in asked for each in fields):
        before, after = getattr(plan, name), getattr(now, name)
        if before != after:
            how = f"{_said(before)}, not with {_said(after)}"
            raise ConvscopeError(f"the survey was begun with {what} {how}; give the same again, or {WAY_OUT}")


def _refusing_other_images(plan: Plan, source: ImageSource) -> Iterator[tuple[int, tuple[str, int, int, int]]]:
    """(number, what was planned) of every image, as long as the same come in the same order."""
    for number, (planned, name) in enumerate(zip_longest(plan.listed(), source.names())):
        before = None if planned is None else planned[0]
        if before != name:
            is_new = before is None or (name is not None and name < before)
            what = f"{name} is new" if is_new else f"{before} is gone"
            raise ConvscopeError(f"the images of {source.name} are no longer those of the plan: {what}; {WAY_OUT}")
        assert planned is not None
        yield number, planned


def _is_doubtful(plan: Plan, number: int, before: tuple[int, ...], now: tuple[int, int]) -> bool:
    if now != (-1, -1):
        return before != now
    first = number // plan.shard_size * plan.shard_size
    last = min(first + plan.shard_size, plan.images) - 1
    return number in (first, (first + last) // 2, last)


def _digest(source: ImageSource, name: str) -> bytes:
    try:
        return source.digest(name)
    except ConvscopeError:
        return b""


def _said(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    texts = [str(each) for each in cast("tuple[Any, ...]", value)]
    return ", ".join(texts[:6]) + (f" and {len(texts) - 6} more" if len(texts) > 6 else "") or "none"
