"""All that can be simulated, by name: what --list shows and a replay command names."""

from __future__ import annotations

from potminer.sim import scenarios, swarm
from potminer.sim.plan import Plan

ABOUT = {
    **{scenario.name: scenario.about for scenario in scenarios.CATALOGUE.values()},
    swarm.NAME: swarm.ABOUT,
}


def drawn(name: str, seed: int, *, nodes: int | None = None) -> Plan:
    """The run that *seed* draws of what is called *name*; KeyError where nothing is."""
    if name == swarm.NAME:
        return swarm.draw(seed, nodes=nodes)
    return scenarios.draw(scenarios.CATALOGUE[name], seed, nodes=nodes)
