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
from fink_broker.science_module import ScienceModule

CARD = "README.md"
CHECK = "check.parquet"  # inputs of the module for some alerts, and what they truly are in `truth`
ROWS = ("output", "data", "date", "seed", "command", "sha256", "score", "limits")  # of the card's table
TOLERANCE = 0.002  # of the score; processors differ in the last digits


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
    """What is wrong with a module's model: its card, its hash, its score on the shipped check set; nothing if all agree."""
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
    name, expected = card.score
    value = measured(kind, pd.read_parquet(check), card.rows["output"], name)
    if abs(value - expected) > TOLERANCE:
        wrong.append(f"{name} on the check set is {value:.4f}, and the card says {expected:.4f}; train it again, or mend {card.file}")
    return wrong


def measured(kind: type[ScienceModule], check: pd.DataFrame, output: str, score: str) -> float:
    """A score of the module's output on a check set: roc_auc of a probability, or accuracy of a class."""
    module = kind()
    module.setup()
    found = module.process(check[list(module.inputs)].reset_index(drop=True))[output]
    truth = check["truth"].reset_index(drop=True)
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
