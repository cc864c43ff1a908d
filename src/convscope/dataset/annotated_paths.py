"""How the paths of a table and the ids of the data go together, though folders above the photos have other names.

A path is an id with one front in the place of some of its first folders, the same for all photos:

    path = front + id without its first ``dropped`` folders

Tried in this order, and the first that fits any photo holds: the id itself; the data's own folders in front, fewest
first; fewer folders than the id has; and where none of these fits, any front that the table has, for the data's folder,
or those that all of its photos lie in, may have been renamed. The last is a guess by names, so that only one front may
fit, whichever photo is asked; and whoever reads the table has to say that it was made (``renamed``).

Pitfall: names cannot tell that the photos of a flat folder, ``1.jpg``, are others than those of ``dogs/1.jpg``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from convscope.errors import ConvscopeError, nearest

Images = Callable[[], Iterable[str]]  # all ids, as often as they are asked for


@dataclass(frozen=True)
class PathRule:
    """``renamed``: the front is none of the data's own folders."""

    front: str = ""
    dropped: int = 0
    renamed: bool = False

    def path(self, image: str) -> str:
        """The photo's path in the table, if it has one."""
        return self.front + "/".join(image.split("/")[self.dropped :])


def path_rule(table: str, paths: Collection[str], images: Images, folders: Sequence[str] = ()) -> PathRule:
    """The one rule that holds for all photos.

    Args:
        table: its name, for messages.
        paths: all that it has, with ``/`` and none in front.
        images: the data's ids, by code points.
        folders: the names of the folders that lie above the data, outermost first.

    Raises:
        ConvscopeError: no photo of the data is in the table, or it cannot be told which folder of it they are.
    """
    for image in images():
        for rule in _known_rules(image, folders):
            if rule.path(image) in paths:
                return rule
    renamed = _renamed(paths, images)
    if len(renamed) > 1:
        below = " or ".join(repr(rule.front) for rule in renamed)
        raise ConvscopeError(
            f"{table}: the photos may be those below {below}; call the data's folder as the table does"
        )
    if renamed:
        return renamed[0]
    first = next(iter(images()))
    raise ConvscopeError(
        f"{table} has no row for any of the photos, such as {first}{nearest(first, paths)} "
        f"(the first that it has is {next(iter(paths))})"
    )


def _known_rules(image: str, folders: Sequence[str]) -> Iterator[PathRule]:
    """The plain id, then more folders, then fewer."""
    yield PathRule()
    for count in range(1, len(folders) + 1):
        yield PathRule("/".join(folders[-count:]) + "/")
    for dropped in range(1, image.count("/") + 1):
        yield PathRule(dropped=dropped)


def _renamed(paths: Collection[str], images: Images) -> list[PathRule]:
    """Fronts that the table has before some photo, one or the first two; with as few folders dropped as can be."""
    for dropped in range(_folders_of_all(images) + 1):
        found: dict[PathRule, None] = {}
        fronts: dict[int, dict[str, list[str]]] = {}  # how many names a tail has -> tail -> what stands before it
        for image in images():
            tail = image.split("/")[dropped:]
            if dropped and len(tail) == 1:
                continue  # the folder next to the photo is its class
            if len(tail) not in fronts:
                fronts[len(tail)] = _fronts(paths, len(tail))
            for front in fronts[len(tail)].get("/".join(tail), ()):
                found[PathRule(front, dropped, renamed=True)] = None
            if len(found) > 1:
                break
        if found:
            return list(found)[:2]
    return []


def _folders_of_all(images: Images) -> int:
    """In how many folders, one in the other, all photos lie: those that the first and the last id share."""
    first = last = ""
    for last in images():
        first = first or last
    shared = 0
    for one, other in zip(first.split("/")[:-1], last.split("/")[:-1], strict=False):
        if one != other:
            break
        shared += 1
    return shared


def _fronts(paths: Collection[str], names: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("/")
        if len(parts) > names:
            found.setdefault("/".join(parts[-names:]), []).append("/".join(parts[:-names]) + "/")
    return found
