"""A file with a matching of one's own, as a user writes it."""

NEAREST = '''"""The k nearest points."""
import torch

from detassign.assigners import MATCHINGS, Matches


@MATCHINGS.register("nearest")
class Nearest:
    """Every object is learned by the k points nearest to its centre."""

    cardinality = "one-to-many"
    needs = frozenset({"points"})

    def __init__(self, k=1):
        self.k = k

    def __call__(self, predictions, targets):
        centers = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2
        distance = torch.cdist(centers, predictions.points.expand(len(centers), -1, -1))
        image, target = targets.mask.nonzero(as_tuple=True)
        sample = distance.topk(self.k, largest=False).indices[image, target].flatten()
        image, target = (index.repeat_interleave(self.k) for index in (image, target))
        return Matches(image, sample, target, torch.ones_like(sample, dtype=torch.float))
'''
