"""How many images a second detectors predict: ours beside other libraries' own models of the same systems, in one process.

The sides are those of `bench.step`, with random weights. What is measured is everything from a batch of pictures of 0 to 255
on the host to detections. The sides take turns, so that all meet the same machine; in bfloat16 all are under the same autocast.

`forms` is how a side predicts: as it is, compiled, as an exported file; `rows` puts the measurement together.
"""
