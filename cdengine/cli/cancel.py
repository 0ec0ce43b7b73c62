"""How a running command is stopped: signals and a closed stdin set the flag, a watchdog keeps the 2-second promise."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from cdengine.events import Cancellation

# A thread inside GDAL or a convolution cannot be interrupted. The contract gives 2 seconds; the plugin, which must keep
# them too, ends by force what has not ended after 1.6 (`qgis_plugin/engine/child.py`), and temporaries go before that.
GRACE_S = 1.3


@contextmanager
def cancel_on_signals(cancellation: Cancellation, give_up: Callable[[], None]) -> Iterator[None]:
    """Within the block SIGINT and SIGTERM cancel; `give_up` runs if the block has not ended in time."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        _cancel(cancellation, give_up)

    if threading.current_thread() is not threading.main_thread():  # called as a function from a thread: no signals
        yield
        return
    names = ["SIGINT", "SIGTERM", "SIGBREAK"]  # the last one is Windows' Ctrl-Break
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def cancel_on_stdin_close(cancellation: Cancellation, give_up: Callable[[], None]) -> None:
    """Watches stdin in a thread: its end means that the caller cancelled, or died."""

    def watch() -> None:
        # The descriptor, not sys.stdin: a buffered reader that blocks in a daemon thread stops the interpreter at exit.
        descriptor = sys.stdin.fileno() if sys.stdin is not None else None
        while descriptor is not None:
            try:
                if not os.read(descriptor, 4096):
                    break
            except OSError:
                break
        _cancel(cancellation, give_up)

    threading.Thread(target=watch, name="cdengine-stdin", daemon=True).start()


def _cancel(cancellation: Cancellation, give_up: Callable[[], None]) -> None:
    if cancellation.cancelled:
        return
    cancellation.cancel()
    watchdog = threading.Timer(GRACE_S, give_up)
    watchdog.daemon = True
    watchdog.start()
