"""What an atlas shows: surveys, dossiers of units, sheets and tables."""
