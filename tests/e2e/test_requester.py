"""A requester's way through the commands, at a running network of real processes."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from potminer.base.errors import Exit
from potminer.devnet.plan import REQUESTER_KEY, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.world.assets import asset
from potminer.world.paths import locate
from tests.e2e.test_devnet import PLAIN_PYTORCH

pytestmark = pytest.mark.e2e


async def command(datadir: Path, *words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "potminer.cli.main", "--datadir", str(datadir), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=cwd,
    )  # fmt: skip
    async with asyncio.timeout(200):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def task_file(folder: Path) -> Path:
    """Digits, scored after every round, to be ended long before its 40 rounds by its target."""
    text = asset("tasks/digits.toml").read_text().replace("../digits/", f"{asset('digits/train.safetensors').parent}/")
    text = text.replace("rounds = 15 ", "rounds = 40 ").replace("every_rounds = 5", "every_rounds = 1\ntarget = 0.9")
    path = folder / "digits.toml"
    path.write_text(text.replace("budget_pot = 121", "budget_pot = 400"))
    return path


def lay_out(folder: Path, plan: Plan, datadir: Path) -> None:
    """The program that docs/python.md shows, as it stands there, among the files that it names."""
    folder.mkdir()
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    (folder / "program.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    shutil.copy(plan.genesis, folder / "genesis.json")
    shutil.copy(plan.folder / REQUESTER_KEY, folder / "requester.key")
    (folder / "api.sock").symlink_to(locate({}, datadir=datadir).socket)
    short = task_file(folder).read_text().replace("rounds = 40 ", "rounds = 2 ")
    (folder / "task.toml").write_text(short)


async def documented_program(folder: Path, plan: Plan, datadir: Path) -> str:
    """What it prints."""
    lay_out(folder, plan, datadir)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "program.py", cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_submit_watch_fetch_and_cancel(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "net", validators=4, trainers=2, seed=3, byzantine=[])
    trust = ("--genesis", str(plan.genesis))
    pays = ("--key", str(plan.folder / REQUESTER_KEY), *trust)
    async with Processes(plan) as processes:
        for member in plan.members:
            await processes.face(member)
        home, other = plan.validators[0].datadir, plan.validators[2].datadir

        async def run(*words: str, at: Path = home) -> str:
            code, out, err = await command(at, *words, cwd=tmp_path)
            assert code == 0, out + err
            return out

        ordered = json.loads(await run("task", "submit", str(task_file(tmp_path)), "--json", *pays))
        assert ordered["name"] == "digits"
        watched = await run("task", "watch", ordered["task"], at=other)
        assert "closed" in watched
        assert 1 < watched.count("accuracy") < 40
        listed = json.loads(await run("task", "list", "--all", "--json"))
        (seen,) = listed["tasks"]
        assert seen["status"] == "closed"
        assert seen["accuracy_ppm"] >= 900_000

        taken = json.loads(await run("task", "fetch", ordered["task"][:8], *trust, "--json"))
        assert taken["proven"] is True
        assert taken["round"] == seen["round"]
        model = tmp_path / "digits" / "model.safetensors"
        assert json.loads((model.parent / "config.json").read_text())["architecture"] == "mlp"
        scored = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PLAIN_PYTORCH, str(model), str(asset("digits/validation.safetensors")),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert float((await scored.communicate())[0]) == pytest.approx(seen["accuracy_ppm"] / 1e6, abs=2e-6)
        first = ("task", "fetch", "digits", "--round", "1", "--to", "older", *trust, "--json")
        older = json.loads(await run(*first, at=other))
        assert older == {"schema": 1, "path": "older/model.safetensors", "round": 1, "proven": True}

        assert "proven" in await documented_program(tmp_path / "program", plan, home)

        second = json.loads(await run("task", "submit", str(task_file(tmp_path)), "--json", *pays))
        await run("task", "cancel", second["task"], *pays)
        lines = [json.loads(line) for line in (await run("task", "watch", second["task"], "--json")).splitlines()]
        assert lines[-1]["task"]["status"] == "cancelled"

        code, _, err = await command(home, "task", "cancel", ordered["task"], *pays)
        assert (code, "task-not-open" in err) == (Exit.FAILURE, True), err
        code, _, err = await command(home, "task", "submit", str(task_file(tmp_path)), "--json", *trust)
        assert (code, "refuses" in err) == (Exit.FAILURE, True)  # the node's own key has no money
