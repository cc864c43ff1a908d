"""Numbers as pictures, tables and pages write them, everywhere alike."""


def percent(probability: float) -> str:
    """``57.8%``: one digit after the point; never 0 or 100 for what is neither."""
    if 0 < probability < 0.0005:
        return "<0.1%"
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}"
