"""A trained model beside its module: how it runs (ONNX, one thread, the same for any batch), and the card that tells what it is worth."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.errors import ConfigError, ModuleError
from fink_broker.science_module import ScienceModule, checked

CARD = "README.md"
CHECK = "check.parquet"  # inputs of the module for some alerts, and what they truly are in `truth`
ROWS = ("output", "data", "date", "seed", "command", "sha256", "score", "limits")  # of the card's table
EXPECTED = "check_expected.parquet"  # the outputs for those alerts, in the same order, as `fink model verify --write` found them
TOLERANCE = 0.002  # of the score; processors differ in the last digits
# Of each number in the outputs: absolute below 1, relative above. Other vector code and another order of sums change float64 by 1e-15, float32 by 5e-7.
OUTPUT_TOLERANCE = 1e-5
APART = 0.01  # share of the alerts (at least one) that may differ by more, or in a word: those that stand on the edge of a decision


class Onnx:
    """A model file, loaded once; called with arrays by the names of its inputs, it gives its outputs in their order."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        if not file.is_file():
            raise ModuleError(f"no model file {file}; it comes with the module, or is made by the command in its {CARD}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # Spark runs as many workers as there are cores
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(one.name for one in self._session.get_inputs())

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Outputs for as many rows as the inputs have."""
        found: list[NDArray[Any]] = self._session.run(None, dict(zip(self.inputs, arrays, strict=True)))
        return found


@dataclass(frozen=True)
class Card:
    """What a model's README says of it."""

    module: str
    file: Path
    rows: dict[str, str]

    @property
    def score(self) -> tuple[str, float]:
        """Name and value of the score on the shipped check set, as in `roc_auc 0.912`."""
        name, _, value = self.rows["score"].partition(" ")
        return name, float(value.split()[0])


def read_card(kind: type[ScienceModule]) -> Card:
    """The card of a module with a model; ConfigError for one that lacks something."""
    file = kind.folder_of() / CARD
    if not file.is_file():
        raise ConfigError(f"{kind.name} has a model and no card; write {file} with a table of {', '.join(ROWS)}")
    found = re.findall(r"^\|\s*([a-z0-9]+)\s*\|\s*([^|]*?)\s*\|\s*$", file.read_text().replace("`", ""), re.MULTILINE)
    rows = dict(reversed(found))  # the first of a name
    if missing := [name for name in ROWS if not rows.get(name)]:
        raise ConfigError(f"{file} says nothing of {', '.join(missing)}; expected lines such as | {missing[0]} | … |")
    if not re.fullmatch(r"[a-z0-9_]+ [0-9.]+.*", rows["score"]):
        raise ConfigError(f"{file}: score is '{rows['score']}'; expected a name and a number, as roc_auc 0.912")
    return Card(kind.name, file, {name: rows[name] for name in ROWS})


def verify(kind: type[ScienceModule]) -> list[str]:
    """What is wrong with a module's model: its card, its hash, its score and its outputs on the shipped check set; nothing if all agree."""
    try:
        card = read_card(kind)
    except ConfigError as error:
        return [str(error)]
    wrong = []
    if (found := kind().model_hash()) != card.rows["sha256"]:
        wrong.append(f"the model's hash is {found}, and its card says {card.rows['sha256']}; train it again, or mend {card.file}")
    check = kind.folder_of() / CHECK
    if not check.is_file():
        return [*wrong, f"no check set {check}; the training command writes it"]
    alerts = pd.read_parquet(check)
    answers = outputs(kind, alerts)
    name, expected = card.score
    value = measured(kind, answers[card.rows["output"]], alerts["truth"], name)
    if abs(value - expected) > TOLERANCE:
        wrong.append(f"{name} on the check set is {value:.4f}, and the card says {expected:.4f}; train it again, or mend {card.file}")
    return [*wrong, *_unexpected(kind, answers)]


def write_expected(kind: type[ScienceModule]) -> Path:
    """Keep the outputs of a module on its check set as those that `verify` expects; the file."""
    check = kind.folder_of() / CHECK
    if not check.is_file():
        raise ConfigError(f"no check set {check}; the training command writes it")
    outputs(kind, pd.read_parquet(check)).to_parquet(kind.folder_of() / EXPECTED, compression="zstd", index=False)
    return kind.folder_of() / EXPECTED


def outputs(kind: type[ScienceModule], alerts: pd.DataFrame) -> pd.DataFrame:
    """What a module tells of some alerts, in the types that it declares."""
    module = kind()
    module.setup()
    given = alerts[list(module.inputs)].reset_index(drop=True)
    return pd.DataFrame({name: values.to_pandas() for name, values in checked(module, given, module.process(given)).items()})


def _unexpected(kind: type[ScienceModule], found: pd.DataFrame) -> list[str]:
    """Where outputs differ from those that are shipped by more than the tolerances."""
    file = kind.folder_of() / EXPECTED
    again = f"`fink model verify {kind.name} --write` writes it anew, if the change is meant"
    if not file.is_file():
        return [f"no expected outputs {file}; {again}"]
    expected = pd.read_parquet(file)
    if list(expected) != list(kind.outputs) or len(expected) != len(found):
        return [f"{file} has {len(expected)} alerts and {', '.join(map(str, expected))}; expected {len(found)} and {', '.join(kind.outputs)}; {again}"]
    apart = pd.DataFrame({name: _apart(found[name], expected[name], kind.outputs[name]) for name in kind.outputs})
    number, most = int(apart.any(axis=1).sum()), max(1, int(APART * len(found)))
    if number <= most:
        return []
    name = str(apart.sum().idxmax())
    row = int(apart[name].to_numpy().argmax())
    return [
        f"{number} of {len(found)} alerts have other outputs than in {file} (at most {most} may, by more than {OUTPUT_TOLERANCE:g}); "
        f"of alert {row} {name} is {found[name][row]}, and {expected[name][row]} was expected; {again}"
    ]


def _apart(found: pd.Series[Any], expected: pd.Series[Any], kind: str) -> NDArray[np.bool_]:
    """Which values differ by more than the tolerance; a missing one from all but a missing one."""
    one_missing, other_missing = found.isna().to_numpy(bool), expected.isna().to_numpy(bool)
    if kind in ("float", "double", "int", "bigint"):
        one, other = found.to_numpy(float), expected.to_numpy(float)
        near = np.abs(one - other) <= OUTPUT_TOLERANCE * np.maximum(1, np.abs(other))
    else:
        near = np.array([np.array_equal(first, second) for first, second in zip(found, expected, strict=True)], bool)
    different: NDArray[np.bool_] = (one_missing != other_missing) | (~one_missing & ~near)
    return different


def measured(kind: type[ScienceModule], found: pd.Series[Any], truth: pd.Series[Any], score: str) -> float:
    """A score of a module's output on a check set: roc_auc of a probability, or accuracy of a class."""
    truth = truth.reset_index(drop=True)
    if score == "accuracy":
        return float((found == truth).mean())
    if score == "roc_auc":
        return roc_auc(truth.to_numpy(bool), found.fillna(0).to_numpy(float))
    raise ConfigError(f"{kind.name}: no score called '{score}'; there are accuracy, roc_auc")


def roc_auc(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Area under the receiver's curve: how often a true one has the higher score, ties half."""
    rank = pd.Series(score).rank().to_numpy()
    good, bad = int(truth.sum()), int((~truth).sum())
    return float((rank[truth].sum() - good * (good + 1) / 2) / (good * bad)) if good and bad else float("nan")


def sha256(files: list[Path]) -> str:
    """Hash of files together, as ScienceModule.model_hash."""
    mark = hashlib.sha256()
    for file in files:
        mark.update(file.read_bytes())
    return mark.hexdigest()
