"""lucent's ascent, one step at a time, so that its steps can take turns with others.

``render_vis`` is a loop with no way in, but it asks for the picture once before the loop and then once a step. That is
where it waits here, in a thread of its own: a step is everything from one picture to the next.

The shim: torch-lucent 0.1.8 calls ``kornia.get_rotation_matrix2d`` and ``kornia.warp_affine``, which newer versions of
kornia have in ``kornia.geometry.transform`` only. They are put back where lucent looks for them, and no more.
"""

import copy
import threading
from importlib.metadata import version
from typing import Any

from torch import Tensor, nn


def mend_kornia() -> str:
    """Puts the two functions where lucent looks for them, and says so."""
    import kornia
    from kornia.geometry import transform

    for name in ("get_rotation_matrix2d", "warp_affine"):
        if not hasattr(kornia, name):
            setattr(kornia, name, getattr(transform, name))
    return (
        f"torch-lucent {version('torch-lucent')} on kornia {version('kornia')}, shim: kornia.get_rotation_matrix2d and "
        "kornia.warp_affine are those of kornia.geometry.transform"
    )


class LucentSteps:
    """``render_vis`` of one channel, on a copy of the model: lucent's hooks stay on it for good."""

    def __init__(self, model: nn.Module, layer: str, channel: int, side: int, **options: Any) -> None:
        mend_kornia()
        from lucent.optvis import param

        self._asked, self._go, self._ready = 0, threading.Semaphore(0), threading.Semaphore(0)
        self._closed, self._error = False, None
        self._parameters, self._image = param.image(side)
        arguments = (copy.deepcopy(model), layer.replace(".", "_"), channel, options)
        self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> None:
        self._go.release()
        self._wait()

    def close(self) -> None:
        self._closed = True
        self._go.release()
        self._thread.join()

    def _wait(self) -> None:
        self._ready.acquire()
        if self._error is not None:
            raise RuntimeError("lucent failed") from self._error

    def _run(self, model: nn.Module, layer: str, channel: int, options: dict[str, Any]) -> None:
        from lucent.optvis import objectives, render

        try:
            render.render_vis(
                model,
                objectives.channel(layer, channel),
                param_f=lambda: (self._parameters, self._next_image),
                thresholds=(10**9,),
                progress=False,
                show_image=False,
                **options,
            )
        except Exception as error:
            self._error = error
            self._ready.release()

    def _next_image(self) -> Tensor:
        self._asked += 1
        if self._asked > 1:  # once for its size, before the first step
            self._ready.release()
            self._go.acquire()
            if self._closed:
                raise SystemExit
        return self._image()
