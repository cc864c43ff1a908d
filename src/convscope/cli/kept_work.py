"""Work put aside on disk while it is made: ``--resume``, Ctrl-C and the clean-up of every command that optimises.

    OUT/.convscope-COMMAND-FINGERPRINT/     one folder a request, one file a key, each whole or not there

The fingerprint is over all that changes numbers: the network, the photo, the options, the versions. Unfinished pictures
are written every 20 s, finished ones at once; after ``kill -9`` no more than that is lost. The folder goes when the
command has written its results, and when the request is refused; it stays after Ctrl-C, a full disk and a crash.

Ctrl-C while steps are made waits for the end of the step, so that what is kept is of one moment; a second one does not.
"""

import hashlib
import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from convscope.cli.running import say
from convscope.errors import ConvscopeError
from convscope.synthesis.keeping import STATE
from convscope.writing import UnwritableError, write_file

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.network.loading import Network

SECONDS_BETWEEN = 20.0
MOST_NAMED = 8


class KeptWork:
    """A keeper on disk (``synthesis.keeping.Keeper``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.in_steps = self.interrupted = False
        self._last = time.monotonic()

    def kept(self, key: str) -> "dict[str, Tensor] | None":
        """The tensors under ``key``; None where there are none, or (said aloud) none that can be read."""
        import safetensors.torch

        file = self._file(key)
        try:
            return safetensors.torch.load(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, safetensors.SafetensorError, ValueError) as error:
            say(f"note: {file} cannot be read and is made anew: {' '.join(str(error).split())}")
            return None

    def keep(self, key: str, tensors: "Mapping[str, Tensor]") -> None:
        """Write the tensors; of an unfinished picture, then leave where Ctrl-C was pressed.

        Raises:
            ConvscopeError: they cannot be written.
            KeyboardInterrupt: the interruption that waited for this.
        """
        import safetensors.torch

        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_file(self._file(key), safetensors.torch.save(own, metadata={"key": key}))
        self._last = time.monotonic()
        if self.interrupted and key.endswith(STATE):  # after finished pictures not yet: all of a batch are kept
            raise KeyboardInterrupt

    def forget(self, key: str) -> None:
        """Delete what is kept under ``key``; without its state a picture is finished."""
        self.in_steps = self.in_steps and not key.endswith(STATE)
        self._file(key).unlink(missing_ok=True)

    def is_due(self) -> bool:
        """True every 20 s, and once Ctrl-C was pressed."""
        self.in_steps = True
        return self.interrupted or time.monotonic() - self._last >= SECONDS_BETWEEN

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Ctrl-C: at the end of the step where steps are made, else, and the second time, at once."""
        if self.interrupted or not self.in_steps:
            raise KeyboardInterrupt
        self.interrupted = True
        say("stops after this step; Ctrl-C again stops at once")

    def remove(self) -> None:
        """Delete the folder, and the one around it where nothing else was written into it."""
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # there is something in it, or it is the current folder
                self.folder.parent.rmdir()

    def _file(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


@contextmanager
def kept_work(
    out: Path,
    command: str,
    asked: Mapping[str, Any],
    *,
    resume: bool,
    write_ready: Callable[[Any], None] | None = None,
) -> Generator[KeptWork]:
    """Within the block, a keeper for this request; the block makes the pictures and writes them.

    Args:
        out: where the results go.
        command: its name.
        asked: all that changes numbers, as JSON takes it or as text: ``network_asked(net)``, the photo's hash, options.
        resume: go on from what is kept; without it that is thrown away.
        write_ready: on Ctrl-C, given the result of what is ready (``optimised.interrupted``), if anything is.

    Raises:
        KeyboardInterrupt: again, after what is ready was written.
    """
    work = KeptWork(out / f".convscope-{command}-{_fingerprint(asked)}")
    _begin(work, command, resume)
    try:
        with _own_interrupt(work):
            yield work
    except UnwritableError:  # a full disk: what is kept is all that was wanted
        _say_how_to_go_on(work)
        raise
    except ConvscopeError:
        work.remove()
        raise
    except KeyboardInterrupt as stopped:
        work.in_steps = work.interrupted = False
        _tell(stopped, write_ready)
        _say_how_to_go_on(work)
        raise
    except Exception:  # a crash: what is kept may be all that was wanted
        _say_how_to_go_on(work)
        raise
    work.remove()


def _begin(work: KeptWork, command: str, resume: bool) -> None:
    """Take up what is kept, or throw it away."""
    is_there = work.folder.is_dir()
    if is_there and not resume:
        say("note: begins anew; what was kept of the same request is thrown away (--resume would have gone on from it)")
        work.remove()
    elif is_there:
        say("note: goes on from where it stopped")
    elif resume:
        others = list(work.folder.parent.glob(f".convscope-{command}-*"))
        why = "; what is kept there is of another request, network or version" if others else ""
        say(f"note: nothing to go on from in {work.folder.parent}{why}: starts from the beginning")


def _say_how_to_go_on(work: KeptWork) -> None:
    if work.folder.exists():
        say("the same command with --resume goes on from here")


def _tell(stopped: KeyboardInterrupt, write_ready: Callable[[Any], None] | None) -> None:
    """What is ready, written; what is not, by name."""
    from convscope.optimised.interrupted import Interrupted

    if isinstance(stopped, Interrupted):
        if write_ready is not None and stopped.ready is not None:
            write_ready(stopped.ready)
        some = ", ".join(stopped.missing[:MOST_NAMED]) + ", ..." * (len(stopped.missing) > MOST_NAMED)
        say(f"not made: {some}")


@contextmanager
def _own_interrupt(work: KeptWork) -> Generator[None]:
    """Within the block Ctrl-C goes to ``work``; where it is ignored, as in a script's background, it stays so."""
    is_main = threading.current_thread() is threading.main_thread()  # signals are the main thread's
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, work.interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _fingerprint(asked: Mapping[str, Any]) -> str:
    from convscope.stamps import versions

    text = json.dumps([versions(), dict(asked)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def network_asked(net: "Network") -> dict[str, Any]:
    """What of a network changes numbers, for the fingerprint of a request."""
    preprocess = re.sub(r" at 0x[0-9a-f]+", "", repr(net.preprocess))  # an address says nothing
    return {"network": net.fingerprint, "preprocess": preprocess, "classes": net.classes, "device": str(net.device)}
