#!/bin/sh
# For a machine with a GPU and its compiler: builds the kernels in build/gpu, runs the ops' tests on the GPU, and measures
# the ops. PYTHON names the interpreter; its torch is used as it is, and only where it has none is an environment made.
# OUT names the file for what was measured.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-bench/results/ops_cuda.json}

if ! "$PYTHON" -c "import torch" 2> /dev/null; then
    make PYTHON="$PYTHON" VENV=.venv .venv/.dependencies
    PYTHON=.venv/bin/python
fi
"$PYTHON" -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'gpu-check: torch sees no GPU')"

DETASSIGN_CUDA=1 "$PYTHON" setup.py --quiet build --build-base build/gpu --build-lib build/gpu/lib
PYTHONPATH=$(pwd)/build/gpu/lib
export PYTHONPATH
"$PYTHON" -c "import sys; from detassign.ops import extension_status; status = extension_status()['cuda']; \
    print(status); sys.exit(not status.loaded)"

"$PYTHON" -m pytest tests/ops/test_ms_deform_attn_devices.py tests/ops/test_ms_deform_attn.py \
    tests/ops/test_sample_maps.py tests/bench/test_ops.py tests/bench/test_attention.py tests/bench/test_gpu.py
"$PYTHON" -m detassign.cli bench ops --device cuda --dtype float32,float16,bfloat16 --repeats 30 --out "$OUT"
