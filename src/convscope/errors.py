"""What convscope refuses, and how it says so: what was given, what was possible, the nearest match."""

import difflib
from collections.abc import Iterable


class ConvscopeError(ValueError):
    """A request that cannot be met as given. The message names the input, the choices and the nearest one.

    The command line prints it in one line and exits with code 2; nothing has been written.
    """


def nearest(given: str, possible: Iterable[str], *, most: int = 3) -> str:
    """``"; did you mean 'layer4.1' or 'layer4.0'?"``, or ``""`` where nothing comes near.

    >>> nearest("grad-camm", ["grad-cam", "occlusion"])
    "; did you mean 'grad-cam'?"
    """
    by_lower = {name.lower(): name for name in possible}
    close = difflib.get_close_matches(given.lower(), by_lower, n=most, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {' or '.join(repr(by_lower[name]) for name in close)}?"
