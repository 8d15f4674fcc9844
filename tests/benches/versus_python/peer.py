"""The peer: what the benchmark does through wasmp, done through CPython's own process pools.

    python3 peer.py ROW LIBRARY ITEMS      LIBRARY is multiprocessing or executor

Says "ready" once its pool is warm. Then answers every line on its input with one sample: seconds, items a
second or bytes, whichever the row is about. Ends with its input.
"""

import atexit
import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Lock, Manager, Pipe, Pool, Queue, Value, get_context, get_start_method

WORKERS = 2
WARM_UP = 1_000


def square(x):
    return x * x


def spin(_):
    while True:
        pass


class Multiprocessing:
    """`multiprocessing.Pool`."""

    def __init__(self, processes=WORKERS):
        self.pool = Pool(processes)

    def apply(self, function, argument):
        return self.pool.apply(function, (argument,))

    def submit(self, function, argument):
        return self.pool.apply_async(function, (argument,)).get

    def map(self, function, inputs, chunksize=None):
        return self.pool.map(function, inputs, chunksize)

    def imap(self, function, inputs):
        return self.pool.imap(function, inputs, 1)

    def pids(self):
        return [process.pid for process in self.pool._pool]

    def end(self):
        self.pool.terminate()
        self.pool.join()


class Executor:
    """`concurrent.futures.ProcessPoolExecutor`."""

    def __init__(self, processes=WORKERS):
        self.processes = processes
        self.pool = ProcessPoolExecutor(processes)

    def apply(self, function, argument):
        return self.pool.submit(function, argument).result()

    def submit(self, function, argument):
        return self.pool.submit(function, argument).result

    def map(self, function, inputs, chunksize=None):
        if chunksize is None:
            # It has no rule of its own but 1, which would not be a fair race: it gets that of the other.
            chunksize = -(-len(inputs) // (self.processes * 4))
        return list(self.pool.map(function, inputs, chunksize=chunksize))

    def imap(self, function, inputs):
        return self.pool.map(function, inputs, chunksize=1)

    def pids(self):
        return list(self.pool._processes)

    def end(self):
        self.pool.shutdown()


def warm(library, processes=WORKERS):
    """A pool whose workers have all worked, and that ends before the interpreter does."""
    pool = library(processes)
    pool.map(square, range(WARM_UP), 1)
    atexit.register(pool.end)
    return pool


def rate(items, work):
    """Items a second."""
    begin = time.perf_counter()
    results = work()
    took = time.perf_counter() - begin
    assert results == items * (items - 1) * (2 * items - 1) // 6, "a wrong result"
    return items / took


def throughput(library, items, work):
    pool = warm(library)
    return lambda: rate(items, lambda: sum(work(pool, range(items))))


def apply(library, items):
    pool = warm(library)

    def sample():
        took = []
        for x in range(items):
            begin = time.perf_counter_ns()
            pool.apply(square, x)
            took.append(time.perf_counter_ns() - begin)
        took.sort()
        return took[items // 2] / 1e9

    return sample


def first_result(library):
    """Seconds from nothing to the first result of a pool."""
    begin = time.perf_counter()
    pool = library()
    assert pool.apply(square, 7) == 49
    took = time.perf_counter() - begin
    pool.end()
    return took


def cold(library):
    """As `first_result`, in an interpreter that has never made a pool before."""
    again = [sys.executable, __file__, "first-result", library.__name__.lower(), "1"]
    return float(subprocess.run(again, check=True, capture_output=True, text=True).stdout)


def replacement():
    """Seconds from the death of a busy worker to the first result of the one that takes its place."""
    pool = Multiprocessing()
    pool.map(square, range(WARM_UP))
    for _ in range(WORKERS):
        pool.submit(spin, None)
    time.sleep(0.1)  # until both are busy
    result = pool.submit(square, 7)
    begin = time.perf_counter()
    os.kill(pool.pids()[0], signal.SIGKILL)
    assert result() == 49
    took = time.perf_counter() - begin
    pool.end()
    return took


def memory(library, processes):
    """Bytes that each idle worker has for itself alone."""
    pool = warm(library, processes)
    return lambda: sum(map(private_bytes, pool.pids())) / processes


def adopt(*objects):
    """What the processes of a pool share can only be inherited."""
    global SHARED
    SHARED = objects


def sharing(*objects):
    """A pool whose processes share these."""
    pool = Pool(WORKERS, adopt, objects)
    pool.map(square, range(WARM_UP), 1)
    atexit.register(pool.terminate)
    return pool


def together(pool, *calls):
    """Seconds until all of these calls, each of a process of its own, are done."""
    begin = time.perf_counter()
    for result in [pool.apply_async(function, arguments) for function, *arguments in calls]:
        result.get()
    return time.perf_counter() - begin


def fill(times, size):
    message = bytes(size)
    for _ in range(times):
        SHARED[0].put(message)


def drain(times):
    for _ in range(times):
        SHARED[0].get()


def queue(size, times):
    pool = sharing(Queue())
    return lambda: times / together(pool, (fill, times, size), (drain, times))


def ping(times):
    for _ in range(times):
        SHARED[0].send(None)
        SHARED[0].recv()


def pong(times):
    for _ in range(times):
        SHARED[1].send(SHARED[1].recv())


def pipe(times):
    pool = sharing(*Pipe())
    return lambda: together(pool, (ping, times), (pong, times)) / times


def lock_pairs(times):
    for _ in range(times):
        SHARED[0].acquire()
        SHARED[0].release()


def lock(processes, times):
    pool = sharing(Lock())
    return lambda: together(pool, *[(lock_pairs, times)] * processes)


def increment(times):
    value = SHARED[0]
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def value(times):
    pool = sharing(Value("q", 0))
    return lambda: together(pool, (increment, times)) / times


def set_and_get(times):
    numbers = SHARED[0]
    for number in range(times // 2):
        numbers[number % 100] = number
        assert numbers[number % 100] is not None


def managed(clients, times):
    """Seconds that so many processes take for so many operations on one dictionary, all together."""
    manager = Manager()
    pool = Pool(clients, adopt, (manager.dict(),))
    pool.map(square, range(WARM_UP), 1)
    atexit.register(pool.terminate)
    return lambda: (together(pool, *[(set_and_get, times // clients)] * clients), manager)[0]


def process(method, times):
    """Seconds from the start of a process that does next to nothing to its end."""
    context = get_context(method)

    def one():
        begin = time.perf_counter()
        process = context.Process(target=square, args=(7,))
        process.start()
        process.join()
        assert process.exitcode == 0
        return time.perf_counter() - begin

    one()

    def sample():
        return sorted(one() for _ in range(times))[times // 2]

    return sample


def private_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Private_"))


def sampler(row, library, items):
    match row:
        case "map-chunk-1":
            return throughput(library, items, lambda pool, inputs: pool.map(square, inputs, 1))
        case "map-default":
            return throughput(library, items, lambda pool, inputs: pool.map(square, inputs))
        case "imap-chunk-1":
            return throughput(library, items, lambda pool, inputs: pool.imap(square, inputs))
        case "apply":
            return apply(library, items)
        case "pool-warm":
            first_result(library)
            return lambda: first_result(library)
        case "pool-cold":
            return lambda: cold(library)
        case "replacement":
            return replacement
        case "memory":
            return memory(library, items)
        case "queue-16-b":
            return queue(16, items)
        case "queue-64-kib":
            return queue(64 << 10, items)
        case "queue-1-mib":
            return queue(1 << 20, items)
        case "pipe":
            return pipe(items)
        case "lock-alone":
            sample = lock(1, items)
            return lambda: sample() / items
        case "lock-two":
            sample = lock(WORKERS, items)
            return lambda: WORKERS * items / sample()
        case "dict":
            sample = managed(1, items)
            return lambda: sample() / items
        case "dict-1" | "dict-4" | "dict-16":
            sample = managed(int(row.split("-")[1]), items)
            return lambda: items / sample()
        case "value" | "value-atomic":
            return value(items)
        case "process-forkserver":
            return process("forkserver", items)
        case "process-spawn":
            return process("spawn", items)
        case "process-fork" | "process-fork-64-mib":
            ballast = bytearray(b"1") * (64 << 20 if row.endswith("mib") else 0)
            sample = process("fork", items)
            return lambda: (sample(), ballast)[0]
    raise SystemExit(f"no such row: {row}")


def main(row, library, items):
    library = {"multiprocessing": Multiprocessing, "executor": Executor}[library]
    if row == "first-result":
        print(first_result(library))
        return
    sample = sampler(row, library, int(items))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(sample(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["facts"]:
        print(platform.python_implementation(), platform.python_version(), get_start_method())
    else:
        main(*sys.argv[1:])
