"""Names and numbers that the data pipeline writes and the models read."""

PADDING_LABEL = -1.0
"""The label of padding."""
MASK = "mask"
"""The model input [B, N] that holds 1 for a document and 0 for padding."""
POSITIONS, CONFIDENCE = "__positions__", "__confidence__"
"""The targets that hold the shown ranks and the confidence of labels; reserved, not names of data columns."""
