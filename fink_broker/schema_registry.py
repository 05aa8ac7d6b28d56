"""Schemas from a Confluent schema registry."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import quote

from fink_broker.errors import ConfigError, Unavailable, UnknownSchema
from fink_broker.retry import retried


class RegistryClient:
    """A Confluent schema registry, asked once for each id; for an id that it does not have, again after `again_seconds`."""

    def __init__(self, url: str, timeout_seconds: float = 10.0, again_seconds: float = 60.0) -> None:
        self.url, self.timeout, self.again = url.rstrip("/"), timeout_seconds, again_seconds
        self.place = re.sub(r"//[^/@]*@", "//***@", self.url)  # without a password, for messages
        self._known: dict[int, Any] = {}
        self._unknown: dict[int, tuple[float, str]] = {}

    def get(self, identifier: int) -> Any:
        """Schema of an id as parsed JSON, references drawn in; UnknownSchema or Unavailable."""
        when, why = self._unknown.get(identifier, (0.0, ""))
        if why and time.time() - when < self.again:
            raise UnknownSchema(why)
        if identifier not in self._known:
            try:
                self._known[identifier] = retried(lambda: self._schema(identifier), "schema registry")
            except UnknownSchema as error:
                self._unknown[identifier] = (time.time(), str(error))
                raise
        return self._known[identifier]

    def _schema(self, identifier: int) -> Any:
        answer = self._ask(f"/schemas/ids/{identifier}", f"id {identifier}")
        named: dict[str, Any] = {}
        for reference in answer.get("references") or []:
            self._draw_in(reference, named)
        return _expand_once(_parsed(answer, f"id {identifier}"), named)

    def _draw_in(self, reference: dict[str, Any], named: dict[str, Any]) -> None:
        subject = reference["subject"]
        answer = self._ask(f"/subjects/{quote(subject, safe='')}/versions/{reference['version']}", f"subject {subject}")
        for inner in answer.get("references") or []:
            self._draw_in(inner, named)
        named[reference["name"]] = _parsed(answer, f"subject {subject}")

    def _ask(self, path: str, what: str) -> Any:
        import httpx

        try:
            answer = httpx.get(self.url + path, timeout=self.timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"schema registry at {self.place} does not answer: {error}; check [kafka] schema_registry_url") from error
        if answer.status_code == 404:
            raise UnknownSchema(f"unknown schema: the registry at {self.place} has no {what}")
        if answer.status_code in (401, 403):
            raise ConfigError(f"schema registry at {self.place} refuses us ({answer.status_code}); put user:password@ in [kafka] schema_registry_url")
        if answer.status_code != 200:
            raise Unavailable(f"schema registry at {self.place} answered {answer.status_code} for {what}; try again later")
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable(f"what answers at {self.place} is no schema registry (no JSON); check [kafka] schema_registry_url") from error


def _parsed(answer: dict[str, Any], what: str) -> Any:
    """The Avro schema in a registry's answer."""
    if answer.get("schemaType", "AVRO") != "AVRO":
        raise UnknownSchema(f"unknown schema: {what} of the registry is {answer['schemaType']}; packets are Avro")
    try:
        return json.loads(answer["schema"])
    except (KeyError, ValueError) as error:
        raise UnknownSchema(f"unknown schema: {what} of the registry is not an Avro schema: {error}") from error


def _expand_once(schema: Any, named: dict[str, Any], namespace: str = "") -> Any:
    """The schema with references of a registry drawn in where they are first used; they may be named without their namespace."""
    if isinstance(schema, list):
        return [_expand_once(part, named, namespace) for part in schema]
    if isinstance(schema, str):
        full = next((name for name in (schema, f"{namespace}.{schema}") if name in named), None)
        return schema if full is None else _expand_once({**named.pop(full), "name": full}, named, full.rpartition(".")[0])
    if isinstance(schema, dict):
        namespace = schema["name"].rpartition(".")[0] or schema.get("namespace", namespace) if "fields" in schema else namespace
        keys = ("type", "items", "values")
        made = {key: _expand_once(value, named, namespace) if key in keys else value for key, value in schema.items()}
        if "fields" in made:
            made["fields"] = [_expand_once(part, named, namespace) for part in made["fields"]]
        return made
    return schema
