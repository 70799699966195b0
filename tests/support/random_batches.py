"""Small random batches for any assigner, and the assigners to try on them: everything the registries know."""

from dataclasses import replace
from itertools import product

import torch
from hypothesis import settings
from support.dense import grid

from detassign.assigners import ASSIGNERS, MATCHINGS, SCORES, WEIGHTINGS, Predictions, Targets, build
from detassign.assigners.assigner import refusal

CLASSES = 3
SIDE = 64  # pixels of the square image
STRIDES = (8, 16)

law = settings(derandomize=True, deadline=None, max_examples=25, database=None)
"""Hypothesis settings of every law: the same examples on every run."""


def plain_first(registry, plain):
    return sorted(registry, key=lambda name: name != plain)


def around(matching=None, weighting=None, score=None) -> str:
    """ "matching+weighting+score" around the given part, the others the plainest that go with it."""
    choices = (
        [matching] if matching else plain_first(MATCHINGS, "center_prior"),
        [weighting] if weighting else plain_first(WEIGHTINGS, "dual" if score else "focal"),
        [score] if score else plain_first(SCORES, "sigmoid"),
    )
    for names in product(*choices):
        parts = [r.build(n, num_classes=CLASSES) for r, n in zip((MATCHINGS, WEIGHTINGS, SCORES), names, strict=True)]
        if refusal(*parts) is None:
            return "+".join(names)
    raise LookupError(f"no assigner takes matching {matching}, weighting {weighting}, score model {score}")


def every_spec() -> list[str]:
    """What `build` takes: every preset, every matching that is in none of them, every weighting, every score model."""
    in_presets = {type(built(name).matching) for name in ASSIGNERS}
    others = [name for name in MATCHINGS if type(MATCHINGS.build(name, num_classes=CLASSES)) not in in_presets]
    specs = [
        *ASSIGNERS,
        *(around(matching=name) for name in others),
        *(around(weighting=name) for name in WEIGHTINGS),
        *(around(score=name) for name in SCORES),
    ]
    return list(dict.fromkeys(specs))


def built(spec):
    """The assigner of a spec, for the batches of this module."""
    return build(spec, num_classes=CLASSES)


def order_free(assigner) -> bool:
    """Whether the order of targets must not matter: not where a conflict goes, by choice, to the last of the list."""
    return all(getattr(part, "conflict", None) != "last" for part in (assigner.matching, assigner.weighting))


def rounded(values):
    """Multiples of 1/1024: sums and shifts of such pixels are exact in float32."""
    return (values * 1024).round() / 1024


def random_boxes(generator, *shape, smallest=6.0, largest=56.0):
    """(*shape, 4) xyxy boxes inside the image, log-uniform sides."""
    ratio = torch.rand(*shape, 2, generator=generator)
    sides = smallest * (largest / smallest) ** ratio
    corner = torch.rand(*shape, 2, generator=generator) * (SIDE - sides)
    return rounded(torch.cat([corner, corner + sides], -1))


def random_targets(seed=0, counts=(4, 2), spare=1) -> Targets:
    """counts[i] targets in image i, and `spare` places of padding more than the largest count."""
    generator = torch.Generator().manual_seed(seed)
    images, places = len(counts), max(counts, default=0) + spare
    boxes = random_boxes(generator, images, places)
    labels = torch.randint(CLASSES, (images, places), generator=generator)
    mask = torch.arange(places) < torch.tensor(counts)[:, None]
    sizes = torch.full((images, 2), float(SIDE))
    return Targets(boxes * mask[..., None], labels * mask, mask, sizes=sizes)


def random_predictions(assigner, targets, seed=0) -> Predictions:
    """Predictions of a head that is half right: each sample predicts some target's box, shaken, or a random one."""
    generator = torch.Generator().manual_seed(seed + 1)
    points, strides, sizes = grid([(SIDE // s, SIDE // s) for s in STRIDES], STRIDES)
    images, samples = len(targets.boxes), len(points)
    columns = CLASSES + assigner.score.background_column
    boxes = random_boxes(generator, images, samples)
    if targets.mask.any():
        places = targets.mask.float() + 1e-9
        chosen = torch.multinomial(places, samples, replacement=True, generator=generator)
        near = targets.boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
        near = near + 3 * torch.randn(images, samples, 4, generator=generator)
        lucky = (torch.rand(images, samples, generator=generator) < 0.5) & targets.mask.any(1)[:, None]
        boxes = torch.where(lucky[..., None], rounded(near), boxes)
    return Predictions(
        torch.randn(images, samples, columns, generator=generator),
        boxes,
        torch.randn(images, samples, generator=generator),
        points,
        strides,
        sizes,
    )


def random_batch(assigner, seed=0, counts=(4, 2)):
    """Predictions and targets that belong together."""
    targets = random_targets(seed, counts)
    return random_predictions(assigner, targets, seed), targets


def box_terms(losses) -> torch.Tensor:
    """What the loss has of boxes, whatever its terms are called."""
    return sum(value for name, value in losses.items() if not name.startswith("loss_cls"))


def leaves(predictions) -> Predictions:
    """The same predictions as leaves of the graph."""
    parts = {name: getattr(predictions, name).clone().requires_grad_() for name in ("logits", "boxes", "objectness")}
    return replace(predictions, **parts)


def pair_table(assignment, samples, targets):
    """(B, N, M, 3): whether sample and target are a pair, its w⁺ and its w°."""
    matches = assignment.matches
    table = torch.zeros(*targets.mask.shape[:1], samples, targets.mask.shape[1], 3)
    values = torch.stack([torch.ones_like(assignment.positive), assignment.positive, assignment.box], -1)
    table[matches.image, matches.sample, matches.target] = values.detach().float()
    return table


def answer(assigner, predictions, targets):
    """Pairs with their weights (B, N, M, 3), w⁻ (B, N, C), and the three losses as one tensor."""
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    table = pair_table(assignment, predictions.logits.shape[1], targets)
    return table, assignment.negative.detach(), torch.stack([losses[name] for name in sorted(losses)]).detach()
