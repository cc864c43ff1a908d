"""Tests mirror ``src/convscope``; ``nets.py`` has the hard nets, ``oracles.py`` the slow paper replicas."""
