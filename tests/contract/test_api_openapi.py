"""The API keeps to its own description: fuzzed from it over loopback TCP, with and without the cookie."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from potminer.world.api.address import TcpAddress
from potminer.world.api.openapi import describe
from potminer.world.api.routes import Routes
from potminer.world.api.serve import ApiServer
from potminer.world.paths import locate
from tests.contract.test_api import NOW, Rig
from tests.contract.test_api_answers import Node

EXAMPLES = 20
"""Of each address and mode; the same ones every time."""


class Whole(Rig, Node):
    """A Backend of which every question has an answer."""

    def __init__(self, folder: Path) -> None:
        Rig.__init__(self, folder)
        Node.__init__(self)


@dataclass(frozen=True)
class Door:
    base: str
    cookie: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.cookie}"}


@contextmanager
def served(folder: Path) -> Iterator[Door]:
    """The API on a loop and a thread of its own: the fuzzer's requests block."""
    listening: Future[Door] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        paths = locate({}, datadir=folder / "data", network="devnet")
        server = await ApiServer.open(Whole(folder), paths, clock=lambda: NOW, tcp_port=0)
        (address,) = [each for each in server.addresses if isinstance(each, TcpAddress)]
        listening.set_result(Door(f"http://127.0.0.1:{address.port}", address.cookie.read_text()))
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield listening.result(timeout=30)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with served(tmp_path_factory.mktemp("api")) as found:
        yield found


def routes() -> Routes:
    return Routes(Whole(Path()), lambda: NOW)


def operations() -> list[str]:
    return sorted(f"{route.method} {route.path}" for route in routes().table())


def test_the_description_is_what_the_routes_are(door: Door) -> None:
    told = requests.get(door.base + "/openapi.json", headers=door.headers, timeout=10).json()
    assert told == json.loads(json.dumps(describe(routes().table())))
    assert sorted(f"{m.upper()} {path}" for path, methods in told["paths"].items() for m in methods) == operations()
    operation_ids = [m["operationId"] for methods in told["paths"].values() for m in methods.values()]
    assert len(set(operation_ids)) == len(operation_ids)
    schemathesis.openapi.from_dict(told).validate()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", operations())
def test_fuzzed_from_its_description_it_answers_as_described(door: Door, name: str, mode: GenerationMode) -> None:
    schema: Any = schemathesis.openapi.from_dict(describe(routes().table()))
    method, _, path = name.partition(" ")
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
        return  # nothing of it can be wrong

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        reply = case.call(base_url=door.base, headers=door.headers, timeout=10)
        checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
        case.validate_response(reply, checks=checks)

    ask()


@pytest.mark.parametrize("name", operations())
def test_no_address_answers_a_page_a_foreign_host_or_a_stranger(door: Door, name: str) -> None:
    method, _, path = name.partition(" ")
    where = door.base + path.replace("{id}", "0" * 64).replace("{address}", "pot1x")
    (route,) = [each for each in routes().table() if (each.method, each.path) == (method, path)]

    def status(**headers: str) -> int:
        return requests.request(method, where, headers=headers, data=b"", timeout=10).status_code

    bearer = door.headers["Authorization"]
    assert status(Authorization=bearer, Origin="https://evil.example") == 403
    assert status(Authorization=bearer, Host="evil.example") == 403
    strangers = {status(), status(Authorization="Bearer " + "0" * 64), status(Authorization=door.cookie)}
    assert strangers == ({200} if route.open else {403})


def test_a_misspelt_parameter_is_refused(door: Door) -> None:
    reply = requests.get(door.base + "/v1/logs?lats=3", headers=door.headers, timeout=10)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad-request")
