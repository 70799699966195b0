"""How long a training step takes: our detectors beside other libraries' own models of the same systems, in one process.

A step is everything between a batch of images and the next one: normalising, forward, losses, backward, gradient clip and
optimizer. All sides are trained on the same images and objects, each with the optimizer that its own training builds. The
sides take turns, so that all meet the same machine; peak memory is measured in a process per side. In bfloat16 all are under
the same autocast.

`families` says who stands beside whom, `mmdet_peers`, `torchvision_peers` and `transformers_peers` make the other
libraries' models, `contender` is one side in training, `measures` takes times, waits and memory, `rows` puts them together.
"""
