"""Boosted trees of scikit-learn as an ONNX file, for training (skl2onnx 1.20 cannot take those of scikit-learn 1.9)."""

from __future__ import annotations

from typing import Any

import numpy as np


def onnx_file(model: Any, numbers: int) -> bytes:
    """The file of a HistGradientBoostingClassifier fitted to so many float32 numbers, none missing: chances of the classes, or of the second of two."""
    from onnx import TensorProto, helper

    size = model.n_trees_per_iteration_
    nodes: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    target: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for place, tree in enumerate(tree for rounds in model._predictors for tree in rounds):
        for number, node in enumerate(tree.nodes):
            leaf = bool(node["is_leaf"])
            told = (place, number, 0 if leaf else int(node["feature_idx"]), "LEAF" if leaf else "BRANCH_LEQ", 0.0 if leaf else _below(node["num_threshold"]),
                    0 if leaf else int(node["left"]), 0 if leaf else int(node["right"]))  # fmt: skip
            for values, value in zip(nodes.values(), told, strict=True):
                values.append(value)
            if leaf:
                for values, value in zip(target.values(), (place, number, place % size, float(node["value"])), strict=True):
                    values.append(value)
    attributes = {f"nodes_{name}": values for name, values in nodes.items()} | {f"target_{name}": values for name, values in target.items()}
    base = [float(value) for value in np.ravel(model._baseline_prediction)]
    made = [
        helper.make_node("TreeEnsembleRegressor", ["numbers"], ["raw"], domain="ai.onnx.ml", n_targets=size, base_values=base, **attributes),
        helper.make_node(*(("Sigmoid", ["raw"], ["probability"]) if size == 1 else ("Softmax", ["raw"], ["probability"]))),
    ]
    given = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", numbers])
    told_of = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", size])
    graph = helper.make_graph(made, "trees", [given], [told_of])
    file: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8).SerializeToString()
    return file


def _below(threshold: float) -> float:
    """The greatest float32 not above a threshold: a float32 is above both or neither."""
    found = np.float32(threshold)
    return float(found if found <= threshold else np.nextafter(found, np.float32(-np.inf)))
