"""The part of a schema that some expressions read, so that only this much of a packet is decoded for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Tree = dict[str, "Tree"]  # field -> what is read of it; nothing inside: all of it
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_NAME = r"`?([A-Za-z_]\w*)`?"
_PATH = re.compile(rf"\bpacket((?:\s*\.\s*{_NAME})+)")
_OF_POINT = re.compile(r"\bx\.([A-Za-z_]\w*)")


def needed(expressions: Iterable[str], lightcurve: Iterable[Mapping[str, str]] = ()) -> Tree:
    """What expressions over `packet` read of it; of a light curve's points only the fields that it names as x.FIELD."""
    tree: Tree = {}
    for expression in expressions:
        for path in _paths(expression):
            _add(tree, path)
    for source in lightcurve:
        fields = [name for key, text in source.items() if key != "points" for name in _OF_POINT.findall(text)]
        for path in _paths(source["points"]):
            for name in fields:
                _add(tree, [*path, name])
    return tree


def pruned(schema: Any, tree: Tree) -> Any:
    """An expanded Avro schema with only those fields (fields that it does not have are no matter)."""
    if isinstance(schema, list):
        return [pruned(branch, tree) for branch in schema]
    if isinstance(schema, dict) and schema.get("type") == "array":
        return {**schema, "items": pruned(schema["items"], tree)}
    if not tree or not isinstance(schema, dict) or schema.get("type") != "record":
        return schema
    fields = [{**field, "type": pruned(field["type"], tree[field["name"]])} for field in schema["fields"] if field["name"] in tree]
    return {**schema, "fields": fields or schema["fields"][:1]}


def _paths(expression: str) -> list[list[str]]:
    return [re.findall(r"[A-Za-z_]\w*", found.group(1)) for found in _PATH.finditer(_TEXT.sub(" ", expression))]


def _add(tree: Tree, path: list[str]) -> None:
    for place, name in enumerate(path):
        whole = name in tree and not tree[name]
        if whole:
            return
        tree = tree.setdefault(name, {})
        if place == len(path) - 1:
            tree.clear()
