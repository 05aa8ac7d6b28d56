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
    network: Callable[..., Any],
    start: Weights,
    batch: Callable[[Rows], tuple[Any, ...]],
    label: Rows,
    train: Rows,
    epochs: int,
    rng: np.random.Generator,
    together: int = BATCH,
) -> Weights:
    """Weights of a network of logits, by Adam (Kingma & Ba 2015) with a falling rate on the cross-entropy; `batch` gives its inputs for some rows."""
    import jax
    import jax.numpy as jnp

    w = {name: jnp.asarray(value) for name, value in start.items()}
    zeros = {name: jnp.zeros_like(value) for name, value in w.items()}
    steps = epochs * (len(train) // together)

    def loss(w: Weights, truth: Any, *inputs: Any) -> Any:
        found = jax.nn.log_softmax(network(w, *inputs))
        size = sum(jnp.sum(value**2) for name, value in w.items() if not name.endswith("_b"))
        return DECAY * size / 2 - jnp.mean(jnp.take_along_axis(found, truth[:, None], axis=1))

    @jax.jit
    def step(w: Weights, m: Weights, v: Weights, number: Any, truth: Any, *inputs: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(w, truth, *inputs)
        rate = RATE * jnp.minimum(1, (number + 1) / 100) * 0.5 * (1 + jnp.cos(jnp.pi * number / steps))
        m = {name: 0.9 * m[name] + 0.1 * slope[name] for name in w}
        v = {name: 0.999 * v[name] + 0.001 * slope[name] ** 2 for name in w}
        new = {name: w[name] - rate * (m[name] / (1 - 0.9 ** (number + 1))) / (jnp.sqrt(v[name] / (1 - 0.999 ** (number + 1))) + 1e-8) for name in w}
        return new, m, v, value

    m, v, number, started = zeros, zeros, 0, time.time()
    for epoch in range(epochs):
        order, total = rng.permutation(train), 0.0
        for begin in range(0, len(order) - together + 1, together):
            few = order[begin : begin + together]
            w, m, v, value = step(w, m, v, number, label[few], *batch(few))
            total, number = total + float(value), number + 1
        print(f"epoch {epoch + 1}: loss {total / max(len(order) // together, 1):.4f}, {time.time() - started:.0f} s", flush=True)
    return {name: np.asarray(value) for name, value in w.items()}


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
