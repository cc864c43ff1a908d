"""``convscope train`` in a process of its own that sends itself a real signal at a chosen moment."""

import os
import subprocess
import sys

# the command itself, but that it sends itself the signal at the COUNTth call of what WHERE says
DRIVER = """
import os, signal, sys
from convscope.cli import main
from convscope.training import fitting, frozen_features
from convscope.trainings import report, run_making
import convscope.writing

signal.signal(signal.SIGINT, signal.default_int_handler)  # a script that runs the tests may have it ignored
calls = 0

def striking(function):
    def struck(*args, **options):
        global calls
        calls += 1
        if calls == int(os.environ["COUNT"]):
            os.kill(os.getpid(), getattr(signal, os.environ["HOW"]))
        return function(*args, **options)
    return struck

where = os.environ["WHERE"]
if where == "step":
    fitting.augmented = striking(fitting.augmented)
elif where == "checkpoint":
    fitting.write_checkpoint = striking(fitting.write_checkpoint)
elif where == "part":
    frozen_features.write_part = striking(frozen_features.write_part)
elif where == "report":
    report.write_file = striking(report.write_file)
else:
    convscope.writing.os.fsync = striking(os.fsync)
if os.environ["BARE"]:
    run_making.fit = lambda *args, probe, **options: fitting.fit(*args, **options)
sys.argv = ["convscope", *sys.argv[1:]]
main()
"""


def struck(how: str, where: str, count: int, *arguments: object, bare: str = "") -> subprocess.CompletedProcess[str]:
    """``convscope ARGUMENTS``, struck by the signal ``how`` at the ``count``-th call of what ``where`` says."""
    surroundings = {**os.environ, "HOW": how, "WHERE": where, "COUNT": str(count), "BARE": bare, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, *map(str, arguments)]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=240)
