"""What Spark forks its Python workers from, with all that they need imported before: a worker is there at once, and shares the memory.

Spark ends workers that were idle for a minute, and each new one took two seconds of CPU for its imports. It also collects garbage after
every task, which looks through all objects of a worker: those from before the fork are frozen, and not looked at. And before every task it has
Python look anew what the archives on its path hold, of which there are sixteen with Spark's: 0.2 s, for files that do not change.
"""

from __future__ import annotations

import gc
import socket
import zipimport

import onnxruntime  # noqa: F401
import pandas  # noqa: F401
import pyarrow  # noqa: F401
import pyspark.worker  # noqa: F401
from pyspark import daemon

import fink_broker.earlier  # noqa: F401
from fink_broker.science import Registry
from fink_broker.settings import data_folder


def prepare() -> None:
    """Import the science modules that are installed (one that cannot be imported is told when it is used), then freeze; archives are read once."""
    zipimport.zipimporter.invalidate_caches = lambda self: None  # type: ignore[method-assign]
    Registry.load(data_folder("science_modules"))
    gc.collect()
    gc.freeze()


def worker(sock: socket.socket, authenticated: bool) -> int:
    """What a forked worker does; without a trace in the log when the task that asked for it was ended before it came."""
    try:
        return int(_worker(sock, authenticated))  # type: ignore[no-untyped-call]
    except EOFError:
        return 1


_worker, daemon.worker = daemon.worker, worker

if __name__ == "__main__":
    prepare()
    daemon.manager()  # type: ignore[no-untyped-call]
