"""DW over a softmax with background instead of sigmoid x objectness, for data with many exclusive classes."""

assigner = {"type": "dw", "score": "softmax"}
