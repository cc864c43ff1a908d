"""Memory that is freed and asked for again with every step stays with the process.

glibc hands large blocks back to the system as soon as they are freed, and the system clears each page anew when it is
touched. A step of 16 pictures frees and takes gigabytes: on a CPU a fifth of its time went there (SqueezeNet and
ResNet-50 at 224 px). What a command has taken it will need again, and at its end all of it goes.

For the program alone: a library does not change how its host's memory is managed.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
_LARGEST = 2**31 - 1


def keep_memory() -> bool:
    """From now on blocks of any size come from the heap, which is not trimmed; False where this is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _LARGEST))
