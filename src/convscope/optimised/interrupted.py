"""What a long run leaves when it ends early: the results that are ready, and what is missing."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from convscope.errors import ConvscopeError


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. ``ready`` is a result of what is finished, None where nothing is; ``missing`` names the rest."""

    def __init__(self, ready: Any, missing: tuple[str, ...]) -> None:
        super().__init__(f"{len(missing)} not made: {', '.join(missing)}")
        self.ready, self.missing = ready, missing


class UnfinishedError(ConvscopeError):
    """An objective or its gradient was not finite. ``last``: name -> last good picture ``(c, h, w)``, if any was."""

    def __init__(self, message: str, ready: Any, missing: tuple[str, ...], last: Mapping[str, Tensor]) -> None:
        super().__init__(message)
        self.ready, self.missing, self.last = ready, missing, dict(last)
