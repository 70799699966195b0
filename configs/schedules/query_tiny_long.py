"""A small DETR from scratch: its queries learn their places alone, which takes longest of all."""

from .query_tiny_dense import schedule as dense

schedule = {**dense, "epochs": 800}
