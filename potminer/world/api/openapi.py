"""The API described as OpenAPI 3.1, from the values that serve it and the types that it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from potminer import __version__
from potminer.wire.control import SCHEMA, Refusal
from potminer.world.api.guard import NAMES
from potminer.world.api.route import JSON, Param, Route

_ALWAYS = (400, 403, 429)
"""Any address may answer so: the guard stands before all of them."""
_WITH_BODY = (408, 413)
_ABOUT = (
    "The local API of a potminer node. It listens on a unix socket, or on loopback TCP with the cookie file's "
    "content as a bearer token. Requests with an Origin, or with a Host that is not this computer, are refused. "
    "Money is in grains (1 POT = 1,000,000,000 grains); unknown is null, never 0."
)


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The description. Its version counts the schema of the replies and the program."""
    kinds = [kind for route in routes for kind in _kinds(route)] + [Refusal]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    of = dict(zip(map(id, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "potminer", "version": f"{SCHEMA}.{__version__}", "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"cookie": {"type": "http", "scheme": "bearer", "description": "On loopback TCP."}},
        },
        "security": [{"cookie": []}],
    }


def _kinds(route: Route) -> list[Any]:
    body = None if route.body is None else route.body.kind
    return [kind for kind in (route.reply, body) if kind is not None]


def _operation(route: Route, of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.about,
        "responses": {str(route.status): _reply(route, of)}
        | {str(status): _refusal(status, of) for status in _refusals(route)},
    }
    parameters = [_param(each, "path") for each in route.named] + [_param(each, "query") for each in route.query]
    if parameters:
        told["parameters"] = parameters
    if route.body is not None:
        schema = of[id(route.body.kind)] if route.body.kind is not None else {"type": "string", "format": "binary"}
        content = {route.body.media: {"schema": schema}}
        told["requestBody"] = {"required": True, "description": route.body.about, "content": content}
    if route.open:
        told["security"] = []
    return told


def _reply(route: Route, of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if route.status == 101:
        return {"description": "The websocket opens; every text message is a Snapshot."}
    if route.reply is not None:
        return {"description": route.about, "content": {JSON: {"schema": of[id(route.reply)]}}}
    schema = {} if route.media == JSON else {"type": "string"}
    return {"description": route.about, "content": {route.media: {"schema": schema}}}


def _refusals(route: Route) -> list[int]:
    return sorted({*_ALWAYS, *route.refusals, *(_WITH_BODY if route.body is not None else ())})


def _refusal(status: int, of: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {"description": NAMES[status], "content": {JSON: {"schema": of[id(Refusal)]}}}


def _param(param: Param, where: str) -> dict[str, Any]:
    return {
        "name": param.name,
        "in": where,
        "required": where == "path",
        "description": param.about,
        "schema": dict(param.schema),
    }
