"""A process that ends with the one that started it, however that ended: by the pipe that only that one holds open."""

from __future__ import annotations

import os
import threading

ENDED = 1  # exit status


def end_with_input() -> None:
    """End this process as soon as its standard input does."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock a waiting thread would hold when Python ends
            pass
        os._exit(ENDED)

    threading.Thread(target=wait, daemon=True).start()
