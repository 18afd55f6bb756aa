"""What the figures of quality rest on: rates that allow for momentum from zero, the price of a loss, schedules that
end with their task."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
import torch

from potminer.train.inner import step
from potminer.wire.task import InnerSpec, Momentum

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from quality import _until, restarted  # noqa: E402  (a script beside the package)


@pytest.mark.parametrize("steps", [1, 5, 10, 50, 200])
def test_a_restarted_rate_leads_as_far_as_momentum_at_rest(steps: int) -> None:
    weights, momentum, gradient = torch.zeros(1), torch.zeros(1), torch.ones(1)
    rate = restarted(0.02, steps)
    for number in range(1, steps + 1):
        step(
            InnerSpec(Momentum(900_000_000)), weights, gradient, [momentum], rate=rate, number=number, age=number,
            decaying=[],
        )  # fmt: skip
    assert float(weights) == pytest.approx(-0.02 / (1 - 0.9) * steps, rel=1e-4)


def test_the_price_of_a_loss_is_read_between_two_looks() -> None:
    curve = [{"samples": 100.0, "loss": 0.9}, {"samples": 200.0, "loss": 0.5}, {"samples": 300.0, "loss": 0.6}]
    assert _until(curve, 0.6) == pytest.approx(175)
    assert _until(curve, 0.5) == 200
    assert _until(curve, 0.95) == 100  # at the first look, or before it: at most so many
    assert _until(curve, 0.4) is None


@pytest.mark.parametrize("name", ["digits-local", "fashion", "char-gpt"])
def test_the_rate_of_a_shipped_task_falls_until_its_last_step(name: str) -> None:
    task = tomllib.loads((ROOT / f"assets/tasks/{name}.toml").read_text(encoding="utf-8"))
    assert task["inner"]["decay_steps"] == (
        task["task"]["rounds"] * task["unit"]["segments"] * task["unit"]["batches_per_segment"]
    )
