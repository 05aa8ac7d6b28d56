"""Modules that kill or hang their process are found and switched off."""

from pathlib import Path

import pandas as pd
import pytest

from fink_broker.isolation import Culprit, find_culprits, switched_off
from fink_broker.science import Chain, Registry
from tests.test_science import DOUBLE, write

LIMIT_SECONDS = 20.0  # start of Python, pandas and the module


def frames(chain: Chain) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = pd.DataFrame({column: [1.0, 2.0] for column in chain.columns})
    return rows, pd.DataFrame(True, index=rows.index, columns=list(chain.names))


def test_the_one_that_ends_its_process_is_named_and_switched_off(tmp_path: Path) -> None:
    write(tmp_path, "good")
    write(tmp_path, "deadly", body="import os; os._exit(3)")
    write(tmp_path, "raising", body="raise ValueError('only raises')")
    write(tmp_path, "reader", '"deadly.value"')
    write(tmp_path, "second", '"good.value"')
    chain = Chain(Registry.load(tmp_path), ["good", "deadly", "raising", "reader", "second"], {"good": {"factor": 5}}, "ztf")
    inputs, selected = frames(chain)
    found = find_culprits(chain, inputs, selected, LIMIT_SECONDS)
    assert found == (Culprit("deadly", "its process ended with exit status 3 with 2 alerts"),)
    assert str(found[0]) == (
        "science module deadly is switched off: its process ended with exit status 3 with 2 alerts; "
        "mend it, try it with `fink module check deadly`, restart the job"
    )
    rest = switched_off(chain, found)
    out = rest.run(inputs, selected)
    assert out["good.value"].tolist() == [5.0, 10.0]
    assert out["second.value"].tolist() == [10.0, 20.0]
    assert out["deadly.value"].isna().all()
    assert out["deadly.error"].tolist() == ["switched off: its process ended with exit status 3 with 2 alerts"] * 2
    assert out["raising.error"][0] == "ValueError: only raises (raising.py:14)"
    assert find_culprits(rest, inputs, selected, LIMIT_SECONDS) == ()


def test_the_one_that_hangs_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = f"import subprocess, time; open({str(pid)!r}, 'w').write(str(subprocess.Popen(['sleep', '300']).pid)); time.sleep(300)"
    write(tmp_path, "hanging", body=body)
    chain = Chain(Registry.load(tmp_path), ["hanging"], {}, "ztf")
    (found,) = find_culprits(chain, *frames(chain), limit_seconds=6.0)
    assert found == Culprit("hanging", "still running after 6 s with 2 alerts")
    state = Path(f"/proc/{pid.read_text()}/stat")
    assert not state.exists() or " Z " in state.read_text()


def test_a_signal_is_named(tmp_path: Path) -> None:
    write(tmp_path, "killed", body="import os; os.kill(os.getpid(), 11)")
    chain = Chain(Registry.load(tmp_path), ["killed"], {}, "ztf")
    (found,) = find_culprits(chain, *frames(chain), limit_seconds=LIMIT_SECONDS)
    assert found.reason.startswith("its process ended by SIGSEGV with 2 alerts")


def test_alerts_that_are_not_selected_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "never", body="import os; os._exit(3)")
    chain = Chain(Registry.load(tmp_path), ["never"], {}, "ztf")
    inputs, selected = frames(chain)
    assert find_culprits(chain, inputs, ~selected, LIMIT_SECONDS) == ()


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_chain_can_be_cut_to_one_module(tmp_path: Path, name: str) -> None:
    write(tmp_path, "first", body=DOUBLE)
    write(tmp_path, "second", '"first.value"', DOUBLE)
    one = Chain(Registry.load(tmp_path), ["first", "second"], {}, "ztf").alone(name)
    assert one.names == (name,)
    assert one.columns == (("mag",) if name == "first" else ("first.value",))
    out = one.run(*frames(one))
    assert out[f"{name}.value"].tolist() == [2.0, 4.0]
    assert list(out.columns) == [f"{name}.value", f"{name}.error"]
