"""Fake miners: documented replies that change as the miner is told to, one small class a family."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fakes.replies import (
    BZMINER,
    ETHMINER,
    EXCAVATOR,
    PHOENIX,
    RATES,
    TEAMREDMINER,
    TEAMREDMINER_STATUS,
    TREX,
)
from fakes.servers import FakeHttp, FakeTcp

PASSWORD = "s3cret-token"


class Page:
    """A miner that is one page of JSON and takes no commands."""

    def __init__(self, path: str, reply: Any) -> None:
        self.reply = deepcopy(reply)
        self.heedless = False
        self.server = FakeHttp(lambda path, _: self.reply if path == self.path else None)
        self.path = path


class FakeTrex:
    """*read_only* is what newer versions are without ``--api-key``; *password* what it was made from."""

    def __init__(self) -> None:
        self.reply = deepcopy(TREX)
        self.heedless = False
        self.read_only = False
        self.locked = False
        """Wants a session for reading, too."""
        self.password = ""
        self.sessions = 0
        self.server = FakeHttp(self._answer)

    def _answer(self, path: str, query: dict[str, str]) -> Any:
        entitled = not self.password or query.get("sid") == f"sid{self.sessions}"
        match path:
            case "/login":
                if query.get("password") != self.password:
                    return {"error": "Incorrect password", "success": 0}
                self.sessions += 1
                return {"sid": f"sid{self.sessions}", "success": 1}
            case "/summary":
                return self.reply if entitled or not self.locked else {"error": "Login required", "success": 0}
            case "/control":
                if self.read_only or not entitled:
                    return {"error": "API is in read-only mode", "success": 0}
                word, _, cards = query.get("pause", "").partition(":")
                if word in ("true", "false") and not self.heedless:
                    if cards:
                        self._set_cards([int(card) for card in cards.split(",")], paused=word == "true")
                    else:
                        self._set(word == "true")
                return {"success": 1}
        return None

    def _set_cards(self, cards: list[int], *, paused: bool) -> None:
        for at in cards:
            self.reply["gpus"][at].update(paused=paused, hashrate=0 if paused else RATES[at])
        self.reply["hashrate"] = sum(gpu["hashrate"] for gpu in self.reply["gpus"])

    def _set(self, paused: bool) -> None:
        self.reply["paused"] = paused
        self.reply["hashrate"] = 0 if paused else sum(RATES)
        for gpu, rate in zip(self.reply["gpus"], RATES, strict=True):
            gpu.update(paused=paused, hashrate=0 if paused else rate)


class FakeBzminer:
    def __init__(self) -> None:
        self.reply = deepcopy(BZMINER)
        self.heedless = False
        self.password = ""
        self.server = FakeHttp(self._answer)

    def _answer(self, path: str, query: dict[str, str]) -> Any:
        if self.password and query.get("password") != self.password:
            return {"result": "incorrect password"}
        if path == "/status":
            return self.reply
        if path == "/rig_command" and query.get("command") in ("stop", "start"):
            if not self.heedless:
                self._set(query["command"] == "stop")
            return b"OK"
        return None

    def _set(self, stopped: bool) -> None:
        for device, rate in zip(self.reply["devices"], RATES, strict=True):
            device.update(status=[0 if stopped else 3], hashrate=[0 if stopped else rate])


class FakeEthman:
    """PhoenixMiner; *known* are the methods it has. ``control_gpu`` is not answered."""

    def __init__(self) -> None:
        self.reply = list(PHOENIX)
        self.heedless = False
        self.password = ""
        self.known = ["miner_getstat1", "miner_getstat2", "control_gpu"]
        self.server = FakeTcp(self._answer)

    def _answer(self, question: dict[str, Any]) -> Any:
        method = question.get("method")
        if method not in self.known:
            return {"id": 0, "error": "unknown method"}
        if self.password and question.get("psw") != self.password:
            return {"id": 0, "error": "wrong password"}
        if method == "control_gpu":
            if not self.heedless:
                self._set(int(question["params"][0]), question["params"][1] == "0")
            return None
        return {"id": 0, "error": None, "result": self.reply[:9] if method == "miner_getstat1" else self.reply}

    def _set(self, at: int, off: bool) -> None:
        rates = self.reply[3].split(";")
        rates[at] = "off" if off else str(RATES[at] // 1_000)
        self.reply[3] = ";".join(rates)
        running = sum(int(rate) for rate in rates if rate != "off")
        self.reply[2] = f"{running};" + self.reply[2].partition(";")[2]


class FakeEthminer:
    def __init__(self) -> None:
        self.reply = deepcopy(ETHMINER)
        self.heedless = False
        self.read_only = False
        self.password = ""
        self._authorised = False
        self.server = FakeTcp(self._answer)

    def _answer(self, question: dict[str, Any]) -> Any:
        match question.get("method"):
            case "miner_getstat1":
                stat = [self.reply["host"]["version"], *PHOENIX[1:9]]
                return {"id": 0, "jsonrpc": "2.0", "result": stat}
            case "api_authorize":
                self._authorised = question["params"]["psw"] == self.password
                if self._authorised:
                    return {"id": 1, "jsonrpc": "2.0", "result": True}
                return {"id": 1, "jsonrpc": "2.0", "error": {"code": -401, "message": "Invalid password"}}
            case "miner_getstatdetail" if self._may():
                return {"id": 1, "jsonrpc": "2.0", "result": self.reply}
            case "miner_pausegpu" if self._may() and not self.read_only:
                if not self.heedless:
                    wish = question["params"]
                    self.reply["devices"][wish["index"]]["mining"]["paused"] = wish["pause"]
                return {"id": 1, "jsonrpc": "2.0", "result": True}
        return {"id": 1, "jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not available"}}

    def _may(self) -> bool:
        return not self.password or self._authorised


class FakeCgminer:
    """TeamRedMiner by default; *nested* lists every part, as cgminer does."""

    def __init__(self) -> None:
        self.reply = deepcopy(TEAMREDMINER)
        self.status = deepcopy(TEAMREDMINER_STATUS)
        self.heedless = False
        self.nested = False
        self.privileged = True
        self.server = FakeTcp(self._answer, once=True, end=b"\n\0")

    def _answer(self, question: dict[str, Any]) -> Any:
        command = str(question.get("command"))
        if "+" in command:
            parts = {part: self._part(part) for part in command.split("+")}
            return {name: [part] if self.nested else part for name, part in parts.items()} | {"id": 1}
        match command:
            case "summary" | "devs" | "devdetails":
                return self._part(command)
            case "privileged":
                return self._said("S" if self.privileged else "E", 46 if self.privileged else 45)
            case "gpudisable" | "gpuenable":
                if not self.privileged:
                    return self._said("E", 45)
                if not self.heedless:
                    self._set(int(question["parameter"]), command == "gpuenable")
                return self._said("I", 7)
        return self._said("E", 14)

    def _set(self, at: int, on: bool) -> None:
        self.reply["DEVS"][at].update({"Enabled": "Y" if on else "N", "KHS 30s": RATES[at] / 1_000 if on else 0.0})

    def _part(self, name: str) -> dict[str, Any]:
        return {"STATUS": self.status, name.upper(): self.reply[name.upper()], "id": 1}

    def _said(self, severity: str, code: int) -> dict[str, Any]:
        return {"STATUS": [{"STATUS": severity, "Code": code, "Msg": "", "Description": "TeamRedMiner 0.10.21"}]}


class FakeExcavator:
    def __init__(self) -> None:
        self.reply = deepcopy(EXCAVATOR)
        self.heedless = False
        self.server = FakeTcp(self._answer)

    def _answer(self, question: dict[str, Any]) -> Any:
        said = self.reply.get(str(question.get("method")))
        if said is None:
            return {"id": question.get("id"), "error": "Unknown method"}
        return said | {"id": question.get("id"), "error": None}
