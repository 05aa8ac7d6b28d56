"""The network, written once: run with numpy while training, and built as an ONNX graph from the same lines (science_modules/_graph.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from science_modules.transient.series import CONTEXT, LENGTH, WIDTH

SIZE, HEADS, QUERIES, HIDDEN = 40, 4, 6, 128
Weights = dict[str, Any]
INPUTS: dict[str, tuple[int, ...]] = {"points": (LENGTH, WIDTH), "mask": (LENGTH,), "about": (CONTEXT,)}


def weights(rng: np.random.Generator, classes: int) -> Weights:
    """Random weights to begin with (He et al. 2015)."""
    shapes = {
        "in": (WIDTH, SIZE), "in2": (SIZE, SIZE), "q": (SIZE, SIZE), "k": (SIZE, SIZE), "v": (SIZE, SIZE), "o": (SIZE, SIZE), "ff": (SIZE, SIZE),
        "pool": (SIZE, QUERIES), "pool_v": (SIZE, SIZE), "h": (QUERIES * SIZE + CONTEXT, HIDDEN), "h2": (HIDDEN, HIDDEN), "out": (HIDDEN, classes),
    }  # fmt: skip
    made: Weights = {}
    for name, (rows, columns) in shapes.items():
        made[name] = (rng.normal(size=(rows, columns)) * np.sqrt(2 / rows)).astype(np.float32)
        made[f"{name}_b"] = np.zeros(columns, np.float32)
    for name in ("o", "ff", "out"):  # what is added to something else begins small
        made[name] *= np.float32(0.1)
    return made


def network(f: Any, w: Weights, points: Any, mask: Any, about: Any, sharpness: float = 1.0) -> Any:
    """Logits: two dense layers a visit, self-attention among visits, attention pooling, two dense layers with what stands beside."""

    def dense(x: Any, name: str) -> Any:
        return f.add(f.matmul(x, w[name]), w[f"{name}_b"])

    def heads(x: Any) -> Any:
        return f.transpose(f.reshape(x, (-1, LENGTH, HEADS, SIZE // HEADS)), (0, 2, 1, 3))

    x = f.relu(dense(f.relu(dense(points, "in")), "in2"))
    missing = f.multiply(f.add(mask, np.float32(-1)), np.float32(1e4))  # 0 where there is a visit, else far below
    score = f.multiply(f.matmul(heads(dense(x, "q")), f.transpose(heads(dense(x, "k")), (0, 1, 3, 2))), np.float32((SIZE / HEADS) ** -0.5))
    score = f.add(score, f.reshape(missing, (-1, 1, 1, LENGTH)))
    mixed = f.transpose(f.matmul(f.softmax(score), heads(dense(x, "v"))), (0, 2, 1, 3))
    x = f.add(x, dense(f.reshape(mixed, (-1, LENGTH, SIZE)), "o"))
    x = f.add(x, f.relu(dense(x, "ff")))
    pool = f.add(f.transpose(dense(x, "pool"), (0, 2, 1)), f.reshape(missing, (-1, 1, LENGTH)))
    pooled = f.reshape(f.matmul(f.softmax(pool), dense(x, "pool_v")), (-1, QUERIES * SIZE))
    hidden = f.relu(dense(f.concat(pooled, about), "h"))
    hidden = f.relu(dense(hidden, "h2"))
    return f.multiply(dense(hidden, "out"), np.float32(sharpness))
