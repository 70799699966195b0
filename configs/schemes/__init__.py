"""What papers changed in query detectors: each file has a function from a detector's model to what it changes there.

A result may have "assigner", "denoising", "extra" (see `QueryDetector`) and "changes", dotted keys of a config.
"""

__all__: list[str] = []
