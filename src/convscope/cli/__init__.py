"""The command line: parses, calls the same functions as Python does, prints. One file a command.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 done with some inputs skipped, 2
refused (nothing written), 130 interrupted, 70 an unexpected crash, with its traceback in a log file.
"""

from convscope.cli.running import main

__all__ = ["main"]
