"""The process of a cell as `detassign.bench.grid.cell`, except that it is killed when its second epoch begins."""

import os
import signal
import sys

from detassign.bench.grid.cell import main
from detassign.engine.hooks import EpochSeed

usual = EpochSeed.before_train_epoch


def before_train_epoch(hook, runner):
    if runner.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    usual(hook, runner)


EpochSeed.before_train_epoch = before_train_epoch

if __name__ == "__main__":
    sys.exit(main())
