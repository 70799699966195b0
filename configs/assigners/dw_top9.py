"""DW over a bag of each target's nine best candidates instead of every point inside its box."""

assigner = {"type": "dw", "top_k": 9}
