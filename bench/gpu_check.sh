#!/bin/sh
# For a machine with a GPU and its compiler: builds the kernels in build/gpu, runs the tests that reach a GPU, and measures
# the ops and, where mmdet is installed, training steps. PYTHON names the interpreter; its torch is used as it is, and only
# where it has none is an environment made. OUT names the file for what was measured of the ops; steps go beside it.
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
if "$PYTHON" -c "import mmdet" 2> /dev/null; then
    DETECTORS=yes
else
    DETECTORS=
    echo "gpu-check: mmdet is not installed; the tests of detectors and their training steps are left out" >&2
fi

"$PYTHON" -m pytest tests/ops/test_ms_deform_attn_devices.py tests/ops/test_ms_deform_attn.py \
    tests/ops/test_sample_maps.py tests/ops/test_linear_assignment.py tests/ops/test_deform_conv2d.py \
    tests/bench/test_ops.py tests/bench/test_attention.py tests/bench/test_gpu.py \
    ${DETECTORS:+tests/detectors/test_cuda.py}
"$PYTHON" -m detassign.cli bench ops --device cuda --dtype float32,float16,bfloat16 --repeats 30 --out "$OUT"
[ "$DETECTORS" ] || exit 0
for precision in float32 bfloat16; do
    for batch in 2 8; do
        "$PYTHON" -m detassign.cli bench train-step --device cuda --families dino,deformable_detr,detr,fcos \
            --size 800x1066 --batch-size "$batch" --precision "$precision" \
            --out "$(dirname "$OUT")/train_step_${precision}_batch_${batch}_cuda.json"
    done
done
