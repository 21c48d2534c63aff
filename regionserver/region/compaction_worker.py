"""Compactions in a process of their own, so that they cost callers neither the interpreter lock nor memory.

Run as ``python -m regionserver.region.compaction_worker PARENT_PID IDLE_S``; ``compact_in_worker`` does that.
It is a plain child process, never a fork of the caller or ``multiprocessing``: scripts without a
``__main__`` guard and notebooks work.

Request  := length u32 | CompactionJob.to_bytes()
Response := length u32 | msgpack {"info": StoreFileInfo fields or None} or
            {"error": exception name, "message": text, "os_error": arguments of an OSError or None}
            Big-endian. One response per request; both ends are of one version.

Invariants
  * A worker outlives neither its parent nor its usefulness: it stops at the end of its input, at its
    parent's death (also when that is killed), and after ``IDLE_S`` without a job.
  * A response follows only after the output file is durable under its name.
  * A cancelled or failed job leaves no output; a killed worker may leave a temporary file.
Threads: any number of callers; each job has a worker to itself while it runs.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import msgpack

from hyperbase.common import errors
from hyperbase.common.errors import CompactionCancelledException, HBaseIOException
from regionserver.region.compaction import (
    CompactionInput,
    CompactionJob,
    run_compaction,
)
from regionserver.storage.store_file_format import StoreFileInfo

__all__ = [
    "CompactionInput",
    "CompactionJob",
    "close_workers",
    "compact_in_worker",
    "run_compaction",
]

IDLE_TIMEOUT_S = 10.0
_NICENESS = 10
_POLL_S = 0.05
_CANCEL_GRACE_S = 3.0
_LENGTH = struct.Struct(">I")
assert _LENGTH.size == 4
_PR_SET_PDEATHSIG = 1
_MODULE = "regionserver.region.compaction_worker"


# --- the caller's side --------------------------------------------------------------------------------


def compact_in_worker(
    job: CompactionJob, *, cancelled: Callable[[], bool] | None = None
) -> StoreFileInfo | None:
    """``run_compaction`` on ``job.root``'s local files in a worker process; an idle worker is used again.

    Args:
        cancelled: asked every 50 ms; when it says so the worker is stopped, with force if need be.

    Raises:
        CompactionCancelledException, and what ``run_compaction`` raises.
        HBaseIOException: the worker could not be started or died; nothing was changed.
    """
    cancelled = cancelled or _never
    while True:
        waiting = _take_idle()
        try:
            return _run_and_return(waiting or _Worker(), job, cancelled)
        except _WorkerGoneError as gone:
            if waiting is not None and gone.status == 0:
                continue  # it stopped for idleness just before the job came
            raise HBaseIOException(
                f"the compaction worker for {job.output} ended without an answer ({gone}): "
                "the compaction can be started again"
            ) from gone


def close_workers() -> None:
    """Stop idle workers at once. Also happens when the interpreter exits."""
    while (worker := _take_idle()) is not None:
        worker.stop()


def _run_and_return(
    worker: _Worker, job: CompactionJob, cancelled: Callable[[], bool]
) -> StoreFileInfo | None:
    try:
        response = worker.call(job, cancelled)
    except BaseException:
        worker.stop()
        raise
    _put_idle(worker)
    if "error" in response:
        raise _error_of(response)
    info = response["info"]
    return None if info is None else StoreFileInfo(**info)


class _WorkerGoneError(Exception):
    """The worker's end of a pipe is closed. The text is what it left on its error output."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class _Worker:
    """A child process and the pipes to it."""

    def __init__(self) -> None:
        self.owner_pid = os.getpid()
        # A file and not a pipe: nobody reads it while the worker runs, and a full pipe would block it.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(self.owner_pid), str(IDLE_TIMEOUT_S)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_environment(),
                bufsize=0,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
            )
        except OSError as error:
            self._errors.close()
            raise HBaseIOException(
                f"cannot start a compaction worker with {sys.executable!r}: {error}"
            ) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, job: CompactionJob, cancelled: Callable[[], bool]) -> dict[str, Any]:
        """Send the job and wait for the response."""
        assert self._process.stdin is not None
        data = job.to_bytes()
        try:
            self._process.stdin.write(_LENGTH.pack(len(data)) + data)
        except BrokenPipeError as error:
            raise self._gone() from error
        (length,) = _LENGTH.unpack(self._receive(_LENGTH.size, job, cancelled))
        response: dict[str, Any] = msgpack.unpackb(self._receive(length, job, cancelled))
        return response

    def _receive(self, count: int, job: CompactionJob, cancelled: Callable[[], bool]) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        data = bytearray()
        poll = select.poll()  # select() itself cannot watch descriptors above 1023
        poll.register(descriptor, select.POLLIN)
        while len(data) < count:
            if poll.poll(_POLL_S * 1000):
                part = os.read(descriptor, count - len(data))
                if not part:
                    raise self._gone()
                data += part
            elif cancelled():
                self.stop(grace_s=_CANCEL_GRACE_S)
                raise CompactionCancelledException(f"the compaction into {job.output} was cancelled")
        return bytes(data)

    def _gone(self) -> _WorkerGoneError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace").strip()
        status = self._process.returncode
        return _WorkerGoneError(text[-2000:] or f"exit status {status}", status)

    def stop(self, grace_s: float = 0.0) -> None:
        """End the process: its closed input tells it to clean up; after ``grace_s`` it is killed."""
        if self._errors.closed:
            return
        if self.owner_pid == os.getpid():
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
        self._errors.close()


_idle: list[_Worker] = []
_idle_lock = threading.Lock()


def _take_idle() -> _Worker | None:
    """A waiting worker of this process; those that stopped meanwhile are reaped."""
    while True:
        with _idle_lock:
            if not _idle:
                return None
            worker = _idle.pop()
        if worker.owner_pid == os.getpid():
            if worker.alive():
                return worker
            worker.stop()


def _put_idle(worker: _Worker) -> None:
    with _idle_lock:
        _idle.append(worker)


def _forget_after_fork() -> None:
    """A forked child must not talk to its parent's workers, nor inherit a lock that is held."""
    global _idle_lock
    _idle_lock = threading.Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(close_workers)


def _environment() -> dict[str, str]:
    """The worker finds the modules where this process found them."""
    root = str(Path(__file__).resolve().parents[2])
    entries = [root, *(entry for entry in sys.path if entry and entry != root)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entries),
        # Few threads and arenas: the worker is to stay small, not to be quick at any price.
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_TRIM_THRESHOLD_": str(16 * 1024 * 1024),
        "MALLOC_MMAP_THRESHOLD_": str(256 * 1024),
    }


def _error_of(response: dict[str, Any]) -> BaseException:
    """The worker's exception, by its name."""
    name, message = response["error"], response["message"]
    if response["os_error"] is not None:
        return OSError(*response["os_error"])
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, HBaseIOException):
        try:
            return kind(message)
        except TypeError:  # a class with arguments of its own
            pass
    return HBaseIOException(f"the compaction worker failed: {name}: {message}")


# --- the worker's side --------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Serve jobs from standard input until it ends."""
    parent, idle_timeout_s = int(arguments[0]), float(arguments[1])
    _die_with(parent)
    os.nice(_NICENESS)
    # Whatever a library prints goes to the error output: standard output carries responses only.
    output = os.dup(1)
    os.dup2(2, 1)
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    ended = threading.Event()
    threading.Thread(target=_read_jobs, args=(jobs, ended), daemon=True).start()
    while True:
        try:
            data = jobs.get(timeout=idle_timeout_s)
        except queue.Empty:
            return 0
        if data is None:
            return 0
        response = msgpack.packb(_serve(data, ended))
        if ended.is_set():
            return 0
        _write_all(output, _LENGTH.pack(len(response)) + response)


def _die_with(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent is gone.

    The signal also comes when only the parent's thread that started this process ends: then it is
    ignored, and comes again when the next one does.
    """

    def parent_changed(_signal: int, _frame: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGTERM, parent_changed)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
            code = ctypes.get_errno()
            raise OSError(code, f"prctl: {os.strerror(code)}")
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _read_jobs(jobs: queue.SimpleQueue[bytes | None], ended: threading.Event) -> None:
    """Pass on jobs; the end of the input cancels the one that runs."""
    stream = os.fdopen(0, "rb", buffering=0, closefd=False)
    while (header := _read_exactly(stream, _LENGTH.size)) is not None:
        data = _read_exactly(stream, _LENGTH.unpack(header)[0])
        if data is None:
            break
        jobs.put(data)
    ended.set()
    jobs.put(None)


def _read_exactly(stream: IO[bytes], count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        part = stream.read(count - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def _serve(data: bytes, ended: threading.Event) -> dict[str, Any]:
    from regionserver.storage.local_filesystem import LocalFileSystem

    try:
        job = CompactionJob.from_bytes(data)
        info = run_compaction(job, LocalFileSystem(job.root), cancelled=ended.is_set)
        return {"info": None if info is None else asdict(info)}
    except Exception as error:  # the parent raises it again
        arguments = None
        if isinstance(error, OSError) and error.errno is not None:
            arguments = [error.errno, error.strerror, error.filename, None, error.filename2]
        return {"error": type(error).__name__, "message": str(error), "os_error": arguments}


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _never() -> bool:
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
