"""An image with what the network answered, as a mapping of plain values."""

from collections.abc import Sequence
from typing import Any

from convscope.store.database import Row

ANSWERED = "name, label, predicted, probability, images.loss, right_logit"  # the columns that answered() wants


def answered(row: Row, classes: Sequence[str], network_classes: Sequence[str]) -> dict[str, Any]:
    """``image`` (its id), ``label`` (data class, "" for none), ``predicted`` (number), ``predicted_name``,
    ``probability``, ``loss``, ``logit`` (of the right class); None where there is none.
    """
    predicted: int = row["predicted"]
    is_named = 0 <= predicted < len(network_classes)
    return {
        "image": row["name"],
        "label": classes[row["label"]] if row["label"] >= 0 else "",
        "predicted": predicted,
        "predicted_name": network_classes[predicted] if is_named else f"class {predicted}",
        "probability": row["probability"],
        "loss": row["loss"],
        "logit": row["right_logit"],
    }
