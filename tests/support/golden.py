"""Golden cases: arrays recorded from the papers' own code, found by their sidecars.

The folder is DETASSIGN_GOLDEN, else the shared one beside the project, else the compact subset under tests/golden/data.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]


def golden_folder() -> Path:
    """Where the golden data is looked for."""
    if os.environ.get("DETASSIGN_GOLDEN"):
        return Path(os.environ["DETASSIGN_GOLDEN"])
    beside = ROOT.parent / "shared" / "golden"
    return beside if beside.is_dir() else ROOT / "tests" / "golden" / "data"


@dataclass(eq=False)
class Case:
    """One recorded case: arrays by flat key, the sidecar, and a comparison at the sidecar's tolerance."""

    path: Path

    def __post_init__(self):
        self.name = self.path.stem
        self.sidecar = json.loads(self.path.read_text())
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    @property
    def config(self):
        return self.sidecar["config"]

    def __contains__(self, key):
        return key in self.arrays

    def tensor(self, key) -> torch.Tensor:
        return torch.from_numpy(np.array(self.arrays[key]))

    def leaf(self, key) -> torch.Tensor:
        return self.tensor(key).requires_grad_()

    def levels(self, prefix):
        """Tensors prefix/0, prefix/1, … as far as they go."""
        count = sum(1 for key in self.arrays if re.fullmatch(re.escape(prefix) + r"/\d+", key))
        return [self.tensor(f"{prefix}/{level}") for level in range(count)]

    def state_dict(self):
        return {k.removeprefix("state_dict/"): self.tensor(k) for k in self.arrays if k.startswith("state_dict/")}

    def check(self, key, value, tolerance_key=None):
        """Assert that `value` equals the recorded array within the sidecar's tolerance."""
        want = self.arrays[key]
        value = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        assert want.shape == value.shape, f"{self.name} {key}: shape {value.shape}, recorded {want.shape}"
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(value, want, err_msg=f"{self.name} {key}")
            return
        entry = self.sidecar["tolerance"][tolerance_key or re.sub(r"\d+", "*", key)]
        np.testing.assert_allclose(value, want, rtol=entry["rtol"], atol=entry["atol"], err_msg=f"{self.name} {key}")


def missing(reason: str, arguments: int = 1):
    """pytest parameters of one test that skips, with the reason."""
    return [pytest.param(*[None] * arguments, marks=pytest.mark.skip(reason=reason), id="missing")]


def cases(family: str, pattern: str = "*"):
    """pytest parameters for all cases of golden/<family>/<pattern>; one that skips, with the reason, if there are none."""
    folder = golden_folder() / family
    found = sorted(p for p in folder.glob(f"{pattern}.json") if p.with_suffix(".npz").exists())
    if not found:
        return missing(f"no golden case {pattern} in {folder}")
    return [pytest.param(Case(p), id=p.stem) for p in found]


def named_cases(family: str, pattern: str = "*"):
    """pytest parameters (file, name) for every batch that the sidecars of golden/<family>/<pattern> name."""
    found = []
    for parameter in cases(family, pattern):
        case = parameter.values[0]
        if case is None:
            found.append(pytest.param(None, None, marks=parameter.marks, id="missing"))
        else:
            found += [pytest.param(case, name, id=f"{case.name}-{name}") for name in case.sidecar["cases"]]
    return found


def keyed_cases(family: str, pattern: str, key: str):
    """pytest parameters (file, name) for every name that a regular expression captures in the keys of the cases."""
    files = [parameter.values[0] for parameter in cases(family, pattern) if parameter.values[0]]
    found = [(case, match[1]) for case in files for match in map(re.compile(key).fullmatch, case.arrays) if match]
    named = [pytest.param(case, name, id=f"{case.name}-{name}") for case, name in dict.fromkeys(found)]
    return named or missing(f"no key {key} of a case {pattern} in {golden_folder() / family}", arguments=2)
