"""Images made by optimisation, as anybody asks for them: of units and classes, dreams, inversions, and their sheets."""
