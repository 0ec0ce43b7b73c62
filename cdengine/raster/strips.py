"""Work read ahead by threads and delivered in order: what keeps decoding busy while the consumer computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
Task = Callable[[], None]

WAIT_S = 0.2  # how long a wait may keep the consumer from seeing a cancel


def read_ahead(
    jobs: Iterable[tuple[T, list[Task]]], workers: int, ahead: int, check: Callable[[], None]
) -> Iterator[T]:
    """Yields each job's value once all of its tasks have run, in order; up to `ahead` further jobs are under way.

    Args:
        jobs: value and tasks; taken lazily, so what a job allocates exists for `ahead + 1` jobs at most.
        workers: threads.
        ahead: jobs in progress beyond the one that is waited for.
        check: raises to stop; called at least every WAIT_S seconds of waiting.

    Raises:
        Whatever a task raised, at its job's turn. Threads have ended when this returns, raises or is closed.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="cdengine-read")
    pending: deque[tuple[T, list[Future[None]]]] = deque()
    source = iter(jobs)
    try:
        while True:
            while len(pending) <= ahead:
                job = next(source, None)
                if job is None:
                    break
                pending.append((job[0], [pool.submit(task) for task in job[1]]))
            if not pending:
                return
            _finish(pending[0][1], check)
            yield pending.popleft()[0]  # without a name here: it is gone as soon as the consumer lets go of it
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finish(futures: list[Future[None]], check: Callable[[], None]) -> None:
    waiting = set(futures)
    while waiting:
        check()
        done, waiting = wait(waiting, timeout=WAIT_S)
        for future in done:
            future.result()
