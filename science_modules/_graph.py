"""For training: networks that are written once, run with jax, and built as ONNX graphs from the same lines; Adam; calibration."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH, RATE, DECAY = 512, 2e-3, 1e-4
Weights = dict[str, Any]
Rows = NDArray[np.int64]


def asked(about: str | None, things: str, number: int, seed: int, folder: Path) -> argparse.Namespace:
    """Options of a training command; `things` is what it simulates so many of."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(f"--{things}", dest="number", type=int, default=number, help=f"simulated {things}")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--cache", type=Path, help="file of the simulated arrays (.npz), made if it is not there")
    parser.add_argument("--only-simulate", action="store_true")
    parser.add_argument("--out", type=Path, default=folder)
    return parser.parse_args()


def simulated(options: argparse.Namespace, sample: Callable[[int, int], dict[str, Any]]) -> dict[str, Any]:
    """The arrays to learn from: of the cache when there is one, else made, and kept there."""
    if options.cache and options.cache.is_file():
        return dict(np.load(options.cache))
    data = sample(options.number, options.seed)
    if options.cache:
        np.savez(options.cache, **data)
    return data


def fit(
    f: Any,
    network: Callable[..., Any],
    start: Weights,
    batch: Callable[[Rows], tuple[Any, ...]],
    label: Rows,
    train: Rows,
    epochs: int,
    rng: np.random.Generator,
    together: int = BATCH,
) -> Weights:
    """Weights of a network of logits, by Adam (Kingma & Ba 2015) with a falling rate on the cross-entropy; `batch` gives its inputs for some rows.

    `f` has the operations, and how the loss changes with the weights: `Jax`.
    """
    w = dict(start)
    m, v = ({name: np.zeros_like(value) for name, value in w.items()} for _ in range(2))
    steps, number, started = epochs * (len(train) // together), 0, time.time()
    slopes = f.slopes(network)
    for epoch in range(epochs):
        order, total = rng.permutation(train), 0.0
        for begin in range(0, len(order) - together + 1, together):
            few = order[begin : begin + together]
            value, slope = slopes(w, label[few], *batch(few))
            rate = RATE * min(1, (number + 1) / 100) * 0.5 * (1 + np.cos(np.pi * number / steps))
            total, number = total + value, number + 1
            for name in w:
                change = np.asarray(slope[name]) + (0 if name.endswith("_b") else DECAY) * w[name]
                m[name] = 0.9 * m[name] + 0.1 * change
                v[name] = 0.999 * v[name] + 0.001 * change**2
                w[name] = (w[name] - rate * (m[name] / (1 - 0.9**number)) / (np.sqrt(v[name] / (1 - 0.999**number)) + 1e-8)).astype(np.float32)
        print(f"epoch {epoch + 1}: loss {total / max(len(order) // together, 1):.4f}, {time.time() - started:.0f} s", flush=True)
    return w


def sharpness(logits: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Factor of the logits with which the probabilities are calibrated (temperature scaling, Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

    def cost(factor: float) -> float:
        return -float(np.log(np.maximum(probabilities(factor * logits)[np.arange(len(label)), label], 1e-12)).mean())

    return float(minimize_scalar(cost, bounds=(0.3, 3), method="bounded").x)


def calibration_error(chances: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Expected calibration error of the likeliest class, in ten bins."""
    top, good = chances.max(axis=1), chances.argmax(axis=1) == label
    place = np.minimum((top * 10).astype(int), 9)
    return float(sum(abs(top[place == k].mean() - good[place == k].mean()) * (place == k).mean() for k in range(10) if (place == k).any()))


def probabilities(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of logits."""
    made = np.exp(values - values.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = made / made.sum(axis=1, keepdims=True)
    return found


class Jax:
    """The operations as jax does them."""

    def __init__(self) -> None:
        import jax
        import jax.numpy as jnp

        self.add, self.matmul, self.multiply = jnp.add, jnp.matmul, jnp.multiply
        self.relu, self.softmax, self.transpose, self.reshape = jax.nn.relu, jax.nn.softmax, jnp.transpose, jnp.reshape
        self.concat = lambda *parts: jnp.concatenate(parts, axis=-1)
        self.convolve = lambda x, kernel: jax.lax.conv(x, kernel, (1, 1), "SAME")
        self.shrink = lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def slopes(self, network: Callable[..., Any]) -> Callable[..., tuple[float, Weights]]:
        """For weights, true classes and inputs: the mean cross-entropy of the network's logits, and how it changes with each weight."""
        import jax
        import jax.numpy as jnp

        def loss(w: Weights, truth: Any, *inputs: Any) -> Any:
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(network(self, w, *inputs)), truth[:, None], axis=1))

        both: Callable[..., tuple[float, Weights]] = jax.jit(jax.value_and_grad(loss))
        return lambda w, truth, *inputs: (float((found := both(w, truth, *inputs))[0]), found[1])


class OnnxGraph:
    """The operations as nodes of an ONNX graph; what they return are names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def _name(self, value: Any) -> str:
        from onnx import numpy_helper

        if isinstance(value, str):
            return value
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        from onnx import helper

        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self._name(one) for one in inputs], [name], **attributes))
        return name

    def add(self, one: Any, other: Any) -> str:
        return self._node("Add", one, other)

    def matmul(self, one: Any, other: Any) -> str:
        return self._node("MatMul", one, other)

    def multiply(self, one: Any, other: Any) -> str:
        return self._node("Mul", one, other)

    def relu(self, one: Any) -> str:
        return self._node("Relu", one)

    def softmax(self, one: Any) -> str:
        return self._node("Softmax", one, axis=-1)

    def transpose(self, one: Any, axes: tuple[int, ...]) -> str:
        return self._node("Transpose", one, perm=list(axes))

    def reshape(self, one: Any, shape: tuple[int, ...]) -> str:
        return self._node("Reshape", one, np.array(shape, np.int64))

    def concat(self, *parts: Any) -> str:
        return self._node("Concat", *parts, axis=-1)

    def convolve(self, one: Any, kernel: Any) -> str:
        return self._node("Conv", one, kernel, auto_pad="SAME_UPPER")

    def shrink(self, one: Any) -> str:
        return self._node("MaxPool", one, kernel_shape=[2, 2], strides=[2, 2])

    def model(self, result: str, inputs_: dict[str, tuple[int, ...]]) -> bytes:
        """The file: inputs by name with the shape of one row; output the probabilities of logits."""
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Softmax", [result], ["probability"], axis=-1))
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in inputs_.items()]
        outputs = [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", None])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)
        made: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
        return made
