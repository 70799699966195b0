import subprocess
import sys

import detassign.data as data


def test_public_names_are_these():
    assert sorted(data.__all__) == [
        "DATASETS",
        "DataSource",
        "Finding",
        "Report",
        "SceneStyle",
        "Summary",
        "cache_folder",
        "check",
        "make_dataset",
        "make_subset",
        "read_categories",
        "resolve",
    ]
    assert all(hasattr(data, name) for name in data.__all__)


def test_importing_loads_neither_torch_nor_mmdet():
    code = "import sys, detassign.data; print([m for m in ('torch', 'mmdet', 'mmengine', 'mmcv') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
