"""Grids: detectors × assigners × data sets × seeds under one budget, a training run each.

A grid is a folder. `grid.json` says what it is. Every cell has a place of its own in `cells/DETECTOR/DATA/`: the folder
`ASSIGNER-seedN/` of its run, and beside it, by the same name, `.json` (the record of a finished cell), `.log` (what the run
said), `.failed` (why it ended) and `.lock` (held by the process that runs it). Nothing in it depends on where the folder lies.
"""
