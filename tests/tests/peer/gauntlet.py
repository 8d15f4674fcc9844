"""CPython's side of the gauntlet: `gauntlet.py ID` does what that row says and prints what comes of it, as it comes.

Nothing here has a timeout of its own unless the row is about one: whoever runs this ends it when it hangs.
"""

import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing import Event, Lock, Pool, Process, Queue


def say(words):
    print(words, flush=True)


def attempt(call, *args):
    """Says what a call returns or raises."""
    try:
        say(f"{call(*args)!r}")
    except BaseException as error:
        say(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def square(x):
    return x * x


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(*_):
    raise ValueError("told to fail")


class Picky(Exception):
    """Cannot be rebuilt from what is pickled of it: that is one argument."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")


def fail_pickily():
    raise Picky("it", "is picky")


def hold(lock, held):
    lock.acquire()
    held.set()
    time.sleep(600)


def wait_for(event, ready):
    ready.set()
    event.wait()


def put_much(queue):
    queue.put(b"x" * (1 << 20))


def pool_in_pool():
    with Pool(1) as pool:
        return pool.apply(square, (3,))


def kill_when(process, ready):
    """Starts a process, and kills it a moment after it is ready."""
    process.start()
    ready.wait()
    time.sleep(0.5)
    process.kill()
    process.join()


def g_01():
    attempt(Pool(2).apply, die)


def g_02():
    attempt(Pool(2).apply, sys.exit, (3,))


def g_03():
    attempt(Pool(2).apply, fail_pickily)


def g_04():
    pool = Pool(2)
    attempt(pool.apply_async(square, (3,), callback=fail).get)
    attempt(pool.apply, square, (4,))


def g_05():
    pool = Pool(2, initializer=fail)
    result = pool.apply_async(square, (3,))
    pids, end = set(), time.monotonic() + 1
    while time.monotonic() < end:
        pids.update(process.pid for process in list(pool._pool))
        time.sleep(0.001)
    say(f"{len(pids)} workers within a second")
    attempt(result.get)


def g_07():
    lock, held = Lock(), Event()
    kill_when(Process(target=hold, args=(lock, held)), held)
    attempt(lock.acquire)


def g_09():
    event, ready = Event(), Event()
    kill_when(Process(target=wait_for, args=(event, ready)), ready)
    attempt(event.set)


def g_12():
    queue = Queue()
    process = Process(target=put_much, args=(queue,))
    process.start()
    attempt(process.join)


def g_14():
    pool = Pool(1)
    result = pool.apply_async(time.sleep, (600,))
    pool.terminate()
    attempt(result.get)


def g_15():
    pulled = 0

    def inputs():
        nonlocal pulled
        for x in range(1000):
            pulled += 1
            yield x

    with Pool(2) as pool:
        next(pool.imap(square, inputs()))
        time.sleep(0.5)
        say(f"{pulled} of 1000 inputs are read")


def g_16():
    queue = Queue()
    queue.put(lambda: 0)
    say("put succeeds")
    attempt(queue.get, True, 1)


def g_17():
    attempt(Pool(1).apply, pool_in_pool)


def g_19():
    executor = ProcessPoolExecutor(1)
    future = executor.submit(time.sleep, 2)
    attempt(future.result, 0.1)
    begun = time.monotonic()
    executor.shutdown()
    say(f"shutdown waits {time.monotonic() - begun:.1f} s")


def g_20():
    executor = ProcessPoolExecutor(1)
    future = executor.submit(time.sleep, 2)
    while not future.running():
        time.sleep(0.01)
    attempt(future.cancel)


def g_21():
    executor = ProcessPoolExecutor(2)
    futures = [executor.submit(die if x == 2 else square, x) for x in range(5)]
    failed = sum(future.exception() is not None for future in futures)
    say(f"{failed} of 5 fail")
    attempt(executor.submit, square, 3)


def g_22():
    executor = ProcessPoolExecutor(2, max_tasks_per_child=2)
    futures = [executor.submit(square, x) for x in range(10)]
    done, _ = wait(futures, timeout=3)
    say(f"{len(done)} of 10 finish")
    executor.shutdown()


if __name__ == "__main__":
    globals()[sys.argv[1].lower().replace("-", "_")]()
