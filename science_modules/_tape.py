"""For training, where there are no convolutions: the operations of a network with numpy, and how the loss changes with its weights (reverse mode)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Made:
    """An array, and what it was made of: each part with how that part's slope follows from this one's."""

    def __init__(self, array: Array, *parts: tuple[Any, Callable[[Array], Array]]) -> None:
        self.array = array
        self.parts = [(part, back) for part, back in parts if isinstance(part, Made)]
        self.slope: Any = 0.0


def _array(value: Any) -> Array:
    return value.array if isinstance(value, Made) else np.asarray(value)


def _summed(slope: Array, shape: tuple[int, ...]) -> Array:
    """A slope summed over what was broadcast."""
    slope = slope.sum(axis=tuple(range(slope.ndim - len(shape))))
    wide = tuple(axis for axis, size in enumerate(shape) if size == 1 != slope.shape[axis])
    return slope.sum(axis=wide, keepdims=True) if wide else slope


class Tape:
    """The operations as numpy does them; with plain arrays they give plain arrays, with what is `Made` they remember."""

    def __init__(self) -> None:
        self.made: list[Made] = []

    def _keep(self, array: Array, *parts: tuple[Any, Callable[[Array], Array]]) -> Any:
        found = Made(array, *parts)
        if not found.parts:
            return array
        self.made.append(found)
        return found

    def add(self, one: Any, other: Any) -> Any:
        a, b = _array(one), _array(other)
        return self._keep(a + b, (one, lambda slope: _summed(slope, a.shape)), (other, lambda slope: _summed(slope, b.shape)))

    def multiply(self, one: Any, other: Any) -> Any:
        a, b = _array(one), _array(other)
        return self._keep(a * b, (one, lambda slope: _summed(slope * b, a.shape)), (other, lambda slope: _summed(slope * a, b.shape)))

    def matmul(self, one: Any, other: Any) -> Any:
        a, b = _array(one), _array(other)
        if b.ndim > 2:
            return self._keep(a @ b, (one, lambda slope: slope @ b.swapaxes(-1, -2)), (other, lambda slope: a.swapaxes(-1, -2) @ slope))
        flat = a.reshape(-1, a.shape[-1])
        made = (flat @ b).reshape(*a.shape[:-1], -1)
        return self._keep(made, (one, lambda slope: (slope.reshape(-1, b.shape[1]) @ b.T).reshape(a.shape)),
                          (other, lambda slope: flat.T @ slope.reshape(-1, b.shape[1])))  # fmt: skip

    def relu(self, one: Any) -> Any:
        made = np.maximum(_array(one), 0)
        return self._keep(made, (one, lambda slope: slope * (made > 0)))

    def softmax(self, one: Any) -> Any:
        made = np.exp(_array(one) - _array(one).max(axis=-1, keepdims=True))
        made /= made.sum(axis=-1, keepdims=True)
        return self._keep(made, (one, lambda slope: made * (slope - (slope * made).sum(axis=-1, keepdims=True))))

    def transpose(self, one: Any, axes: tuple[int, ...]) -> Any:
        return self._keep(np.ascontiguousarray(_array(one).transpose(axes)), (one, lambda slope: slope.transpose(np.argsort(axes))))

    def reshape(self, one: Any, shape: tuple[int, ...]) -> Any:
        a = _array(one)
        return self._keep(a.reshape(shape), (one, lambda slope: slope.reshape(a.shape)))

    def concat(self, one: Any, other: Any) -> Any:
        a, b = _array(one), _array(other)
        cut = a.shape[-1]
        return self._keep(np.concatenate([a, b], axis=-1), (one, lambda slope: slope[..., :cut]), (other, lambda slope: slope[..., cut:]))

    def slopes(self, network: Callable[..., Any]) -> Callable[..., tuple[float, dict[str, Array]]]:
        """For weights, true classes and inputs: the mean cross-entropy of the network's logits, and how it changes with each weight."""

        def found(weights: dict[str, Array], truth: Array, *inputs: Array) -> tuple[float, dict[str, Array]]:
            w = {name: Made(value) for name, value in weights.items()}
            self.made = []
            out = network(self, w, *inputs)
            rows = np.arange(len(truth))
            chance = np.exp(out.array - out.array.max(axis=1, keepdims=True))
            chance /= chance.sum(axis=1, keepdims=True)
            loss = -float(np.log(np.maximum(chance[rows, truth], 1e-30)).mean())
            chance[rows, truth] -= 1
            out.slope = chance / np.float32(len(truth))
            for one in reversed(self.made):
                for part, back in one.parts:
                    part.slope = part.slope + back(one.slope)
            return loss, {name: one.slope for name, one in w.items()}

        return found
