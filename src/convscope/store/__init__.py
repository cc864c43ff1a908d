"""The atlas on disk: plans' parts, tables, pictures. Knows nothing of networks, and needs no torch."""
