"""Models and their cards; two versions side by side."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fink_broker.errors import ConfigError, ModuleError
from fink_broker.model import CHECK, EXPECTED, ROWS, Onnx, outputs, read_card, roc_auc, verify, write_expected
from fink_broker.sample import sample
from fink_broker.science import Chain, Registry, ScienceModule
from fink_broker.settings import data_folder

REGISTRY = Registry.load(data_folder("science_modules"))
TRAINED = [name for name in REGISTRY if any(file.endswith(".onnx") for file in REGISTRY.get(name).model_files)]


def copied(tmp_path: Path, name: str) -> type[ScienceModule]:
    """A module in a folder of its own, to spoil."""
    shutil.copytree(data_folder("science_modules") / name, tmp_path / f"my_{name}", ignore=shutil.ignore_patterns("__pycache__"))
    return Registry.load(tmp_path).get(name)


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_is_what_its_card_says(name: str) -> None:
    assert verify(REGISTRY.get(name)) == []
    assert set(read_card(REGISTRY.get(name)).rows) == set(ROWS)
    assert sum(file.stat().st_size for file in REGISTRY.get(name)().model_paths()) < 6 * 2**20


@pytest.mark.parametrize("name", TRAINED)
def test_results_do_not_depend_on_the_batch(name: str) -> None:
    module = REGISTRY.get(name)()
    module.setup()
    alerts = pd.read_parquet(module.folder_of() / CHECK)[list(module.inputs)].head(60).reset_index(drop=True)
    whole = module.process(alerts)
    for size in (1, 7):
        parts = [module.process(alerts.iloc[start : start + size].reset_index(drop=True)) for start in range(0, len(alerts), size)]
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True, check_dtype=False)


def test_a_spoilt_model_is_found(tmp_path: Path) -> None:
    kind = copied(tmp_path, "early_snia")
    card = kind.folder_of() / "README.md"
    text = card.read_text()
    card.write_text(text.replace("| score | roc_auc 0.", "| score | roc_auc 0.1"))
    assert "on the check set is 0." in verify(kind)[0]
    card.write_text(text.replace("| sha256 | `", "| sha256 | `0"))
    assert verify(kind)[0].startswith("the model's hash is ")
    card.write_text(text)
    (kind.folder_of() / CHECK).unlink()
    assert verify(kind)[0].startswith("no check set ")
    card.write_text(text.replace("| limits |", "| bounds |"))
    assert "says nothing of limits; expected lines such as | limits | … |" in verify(kind)[0]
    card.write_text(text.replace("| score | roc_auc 0.", "| score | good."))
    with pytest.raises(ConfigError, match="expected a name and a number, as roc_auc 0.912"):
        read_card(kind)
    card.unlink()
    assert "has a model and no card; write " in verify(kind)[0]


def test_other_outputs_than_expected_are_found(tmp_path: Path) -> None:
    kind = copied(tmp_path, "transient")
    file = kind.folder_of() / EXPECTED
    good = pd.read_parquet(file)
    pd.testing.assert_frame_equal(good, outputs(kind, pd.read_parquet(kind.folder_of() / CHECK)), check_exact=False, rtol=1e-5, atol=1e-5)
    assert len(good) == 300

    def told(**changed: object) -> list[str]:
        good.assign(**changed).to_parquet(file)
        return verify(kind)

    few, many = np.arange(300) < 3, np.arange(300) < 4
    assert told(entropy=good["entropy"] + 9e-6, sn_ia=good["sn_ia"] - 9e-6) == []  # the last digits of other processors
    assert told(entropy=good["entropy"] + few) == []  # a hundredth may stand on the edge of a decision
    assert told(**{"class": good["class"].where(~few, "other one")}) == []
    (wrong,) = told(entropy=good["entropy"] + many)
    assert wrong.startswith("4 of 300 alerts have other outputs than in ")
    assert "(at most 3 may, by more than 1e-05); of alert 0 entropy is " in wrong
    assert "`fink model verify transient --write` writes it anew, if the change is meant" in wrong
    assert "of alert 0 class is " in told(**{"class": good["class"].where(~many, "other one")})[0]
    assert "of alert 0 sn_ia is " in told(sn_ia=good["sn_ia"].where(~many))[0]  # missing is not near to anything
    good.head(20).to_parquet(file)
    assert " has 20 alerts and class, " in verify(kind)[0]
    file.unlink()
    assert verify(kind)[0].startswith("no expected outputs ")
    assert write_expected(kind) == file
    assert verify(kind) == []
    (kind.folder_of() / CHECK).unlink()
    with pytest.raises(ConfigError, match="no check set .*; the training command writes it"):
        write_expected(kind)


def test_outputs_are_as_expected_without_the_processors_vectors() -> None:
    """As on an older machine, as far as numpy, OpenBLAS and the C library can be told."""
    older = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512_SKX", "OPENBLAS_CORETYPE": "Nehalem",
             "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"}  # fmt: skip
    ask = "from numpy._core._multiarray_umath import __cpu_features__ as has; print(has.get('X86_V3', has.get('AVX2')))"  # what numpy dispatches by
    left = subprocess.run([sys.executable, "-W", "ignore", "-c", ask], env=os.environ | older, capture_output=True, text=True, check=True).stdout
    assert "True" not in left  # so that it is not the same processor once more
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "fink_broker", "model", "verify"], env=os.environ | older, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("good: hash, card, score and outputs agree") == len(TRAINED)


def test_outputs_are_as_expected_with_another_order_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks as they are written, without the operations that onnxruntime joins: float32 is rounded elsewhere."""
    import onnxruntime

    started, plain = onnxruntime.InferenceSession, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def session(file: Path, options: object, **others: object) -> object:
        options.graph_optimization_level = plain  # type: ignore[attr-defined]
        return started(file, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    for name in TRAINED:
        assert verify(REGISTRY.get(name)) == []


def test_a_missing_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=r"no model file .*none.onnx; it comes with the module, or is made by the command in its README.md"):
        Onnx(tmp_path / "none.onnx")


def test_two_versions_of_a_model_run_side_by_side(tmp_path: Path) -> None:
    shutil.copy(data_folder("science_modules") / "early_snia" / "model.onnx", tmp_path / "model.onnx")
    params = {"early_snia_next": {"module": "early_snia", "models": str(tmp_path), "min_detections": 3}}
    chain = Chain(REGISTRY, ["early_snia", "early_snia_next"], params, "ztf")
    assert chain.names == ("early_snia", "early_snia_next")
    inputs = sample(chain.columns, 30, 8)
    out = chain.run(inputs, pd.DataFrame(True, index=inputs.index, columns=list(chain.names)))
    assert out.filter(like=".error").isna().all(axis=None)
    both = out["early_snia_next.probability"].notna()
    assert 0 < both.sum() < out["early_snia.probability"].notna().sum()
    assert np.array_equal(out["early_snia.probability"][both], out["early_snia_next.probability"][both])
    one, other = chain.provenance["early_snia"], chain.provenance["early_snia_next"]
    assert one.split("+")[1].split(".")[0] != other.split("+")[1].split(".")[0]  # the parameters
    assert one.split(".")[-1] == other.split(".")[-1]  # the same model
    (tmp_path / "model.onnx").write_bytes(b"other")
    assert Chain(REGISTRY, ["early_snia_next"], params, "ztf").provenance["early_snia_next"].split(".")[-1] != one.split(".")[-1]


def test_roc_auc_is_scikit_learns() -> None:
    rng = np.random.default_rng(4)
    truth, score = rng.random(300) < 0.4, rng.integers(0, 12, 300) / 12
    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score))
    assert np.isnan(roc_auc(truth[truth], score[truth]))
