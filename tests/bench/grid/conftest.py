"""A data set and the cells of a small grid on it."""

import pytest
import submitit  # noqa: F401 (its import closes log files that are open: here there are none yet)

from detassign.bench.grid.plan import Row, plan
from detassign.data import make_dataset, resolve
from detassign.engine.config import compose

SMALL = {"input.scale": (64, 64), "model.head.stacked_convs": 1}


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder with a data set of eight images. Not to be changed."""
    folder = tmp_path_factory.mktemp("grid") / "shapes"
    make_dataset(folder, images=8, size=64)
    return folder


@pytest.fixture
def rows(shapes):
    """Gives the configs of rows with these assigners on these data."""

    def make(*assigners, data=shapes, epochs=1, **changes):
        source = resolve(data)
        configs = {}
        for assigner in assigners:
            changed = {**SMALL, **changes}
            config = compose("fcos_tiny", assigner, source, changes=changed, epochs=epochs, batch_size=4, device="cpu")
            configs[Row("fcos_tiny", assigner, source.name)] = config
        return configs

    return make


@pytest.fixture
def planned():
    """Gives the cells of configs."""

    def make(configs, work_dir, seeds=(0,)):
        return plan(configs, seeds, work_dir, dict.fromkeys(configs, 2))

    return make
