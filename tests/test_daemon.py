"""What Python workers are forked from; in processes of its own, since it changes signals, garbage collection and imports."""

import subprocess
import sys


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.strip()


def test_all_is_imported_and_frozen_before_the_fork() -> None:
    code = "import gc, sys; from fink_broker.jobs import daemon; daemon.prepare(); "
    asked = "print(gc.get_freeze_count() > 100_000, all(name in sys.modules for name in ('pandas', 'pyarrow', 'onnxruntime', 'fink_science_modules.features')))"
    assert said(code + asked) == "True True"


def test_archives_are_not_read_again() -> None:
    code = "import zipimport; from fink_broker.jobs import daemon; daemon.prepare(); print(zipimport.zipimporter.invalidate_caches(None))"
    assert said(code) == "None"


def test_a_worker_whose_task_is_gone_ends_without_a_trace() -> None:
    code = "import socket; from fink_broker.jobs import daemon; ours, theirs = socket.socketpair(); theirs.close(); print(daemon.daemon.worker(ours, False))"
    assert said(code) == "1"
