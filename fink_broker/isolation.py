"""Which science module kills or hangs its worker: each is run alone, in a process of its own."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fink_broker.errors import ModuleError

if TYPE_CHECKING:
    from fink_broker.science import Chain


@dataclass(frozen=True)
class Culprit:
    """A module that did not come back from a batch."""

    module: str
    reason: str

    def __str__(self) -> str:
        """What to log."""
        return f"science module {self.module} is switched off: {self.reason}; mend it, try it with `fink module check {self.module}`, restart the job"


def find_culprits(
    chain: Chain, inputs: pd.DataFrame, selected: pd.DataFrame, limit_seconds: float = 60.0, points: pd.DataFrame | None = None
) -> tuple[Culprit, ...]:
    """Modules of the chain that end or hang their process on this batch; none if each comes back when it runs alone.

    Arguments as of Chain.run. Modules run one after the other, each in a new Python process (nothing is inherited but the import path)
    that is killed after `limit_seconds`, start of Python and loading of models included. A module that only raises is no culprit.
    """
    return tuple(found for found in _each(chain, inputs, selected, limit_seconds, points) if found is not None)


def switched_off(chain: Chain, culprits: tuple[Culprit, ...]) -> Chain:
    """The chain with the culprits off: null, and why in their `error`."""
    for one in culprits:
        chain = chain.without(one.module, f"switched off: {one.reason}")
    return chain


def _each(chain: Chain, inputs: pd.DataFrame, selected: pd.DataFrame, limit_seconds: float, points: pd.DataFrame | None) -> Iterator[Culprit | None]:
    for name in chain.names:
        if name in chain.off:
            continue
        one = chain.alone(name)
        lacking = [column for column in one.columns if column not in inputs]
        blank = pd.DataFrame(np.full((len(inputs), len(lacking)), None, object), index=inputs.index, columns=lacking)
        given = pd.concat([inputs[[column for column in one.columns if column in inputs]], blank], axis=1)  # of a culprit: null
        found = _run_alone(one, given, selected[[name]], limit_seconds, points)
        if isinstance(found, str):
            yield Culprit(name, found)
        else:
            inputs = pd.concat([inputs, found], axis=1)
            yield None


def _run_alone(chain: Chain, inputs: pd.DataFrame, selected: pd.DataFrame, limit_seconds: float, points: pd.DataFrame | None) -> pd.DataFrame | str:
    """What the module gives, or how its process ended."""
    with tempfile.TemporaryDirectory(prefix="fink-isolation-") as folder:
        task, answer = Path(folder) / "task", Path(folder) / "answer"
        task.write_bytes(pickle.dumps((chain, inputs, selected, points)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        line = [sys.executable, "-m", "fink_broker.isolation", str(task), str(answer)]
        child = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        try:
            _, said = child.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return f"still running after {limit_seconds:g} s with {len(inputs)} alerts"
        if answer.is_file():
            found: pd.DataFrame = pickle.loads(answer.read_bytes())
            return found
        last = (said.decode(errors="replace").strip().splitlines() or [""])[-1][:200]
        how = f"ended by {signal.Signals(-child.returncode).name}" if child.returncode < 0 else f"ended with exit status {child.returncode}"
        return f"its process {how} with {len(inputs)} alerts" + (f" ({last})" if last else "")


def main(task: str, answer: str) -> None:
    """In the child process: run the one module and write what it gives."""
    chain, inputs, selected, points = pickle.loads(Path(task).read_bytes())
    chain.on_failure = "null"
    part = Path(f"{answer}.part")
    part.write_bytes(pickle.dumps(chain.run(inputs, selected, points)))
    part.rename(answer)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise ModuleError("expected the files of a task and of its answer; find_culprits starts this")
    main(sys.argv[1], sys.argv[2])
