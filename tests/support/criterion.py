"""The constants of a recorded set criterion: costs of the matching, weights of the losses."""

from detassign.assigners.losses import box_terms


def set_costs(assigner, weights):
    """Give the terms of the matching's cost the weights of class, L1 and GIoU."""
    terms = zip(assigner.matching.costs.items(), weights, strict=True)
    assigner.matching.costs = {name: term._replace(weight=float(weight)) for (name, term), weight in terms}


def set_constants(assigner, config, cost_alpha):
    """Give an assigner what a model's config decides.

    Args:
        cost_alpha: the class cost, too, has the config's share of the positives.
    """
    set_costs(assigner, [config[f"set_cost_{term}"] for term in ("class", "bbox", "giou")])
    alpha = config["focal_alpha"]
    constants = {"no_object": config.get("eos_coef"), "matched_scale": alpha, "background_scale": 1 - alpha}
    for name, value in constants.items():
        if value is not None and hasattr(assigner.weighting, name):
            setattr(assigner.weighting, name, value)
    if cost_alpha:
        assigner.matching.costs["focal"].part.alpha = alpha


def coefficients(assigner):
    """Weight of every term in the assigner's own loss, by the term's name."""
    boxes = {f"loss_{name}": term.weight for name, term in box_terms(assigner.box_loss).items()}
    return {"loss_cls": assigner.weighting.class_scale, **boxes}
