"""Records of a comparison that nobody trained."""

GAINS = {"fcos": 0.0, "dw": 0.05, "atss": -0.01}
NOISE = (0.0, 0.004, -0.003, 0.001, 0.002, -0.001, 0.0035)  # of the seeds


def record(assigner="fcos", seed=0, ap=None, **changed):
    """What a run's summary holds, with the labels of its row."""
    ap = 0.4 + GAINS.get(assigner, 0.0) + NOISE[seed] * (1 + len(assigner) / 10) if ap is None else ap
    metrics = {"AP": ap, "AP50": 1.5 * ap, "AP75": ap, "APs": None, "APm": ap, "APl": 1.2 * ap}
    metrics["classes"] = {"circle": ap + 0.1, "square": ap - 0.1, "none": None}
    curve = [
        {
            "step": 4 * epoch,
            "epoch": epoch,
            "train_seconds": (10.0 + seed) * epoch,
            "AP": ap * epoch / 2,
            "AP50": ap * epoch,
        }
        for epoch in (1, 2)
    ]
    return {
        "detector": "fcos_tiny",
        "assigner": assigner,
        "data": "shapes",
        "seed": seed,
        "steps": 8,
        "parameters": 5,
        "metrics": metrics,
        "curve": curve,
        "init": None,
        "positives_per_target": 3.0,
        "effective_positives_per_target": 2.0,
        "targets_without_positive": 0.01,
        "seconds_per_step": 0.5 + 0.01 * seed,
        "assignment_share": 0.1,
        "peak_memory_bytes": 2**30,
        "precision": "float32",
        "device": "a processor",
        "host": "here",
        "versions": {"torch": "2.11.0"},
        **changed,
    }


def records(*assigners, seeds=3):
    """Every assigner with so many seeds."""
    return [record(assigner, seed) for seed in range(seeds) for assigner in assigners]


HOSTILE = "<script>alert('x')</script> & \"q\" 50% a_b {c} $x^2$ \\input{/etc/passwd} | `~` #1 细胞 \x1b[2J\nnext"
"""A name that means something in every language that a report is written in."""
