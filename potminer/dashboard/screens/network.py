"""5 Network and consensus: who is linked, who decides, and how fast."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from potminer.dashboard.screens.board import Board
from potminer.dashboard.seen import Picture
from potminer.dashboard.source import Source
from potminer.dashboard.widgets.chart import Chart
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.facts import Facts
from potminer.dashboard.widgets.grid import Grid
from potminer.view.network import consensus_facts, latency_caption, member_table, peer_table
from potminer.view.table import Table
from potminer.view.text import UNKNOWN, clean
from potminer.wire.answers import NetworkView


class NetworkScreen(Board):
    NAME = "Network"
    EVERY_S = 2
    AUTO_FOCUS = "#peers"
    PAGES = ("peers", "committee")

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen)
        self._network: NetworkView | None = None

    def panels(self) -> ComposeResult:
        with Horizontal(id="consensus"):
            yield Facts(self.pen, id="chain", title="Chain")
            yield Grid(self.pen, id="committee", title="Committee")
            yield Chart(self.pen, id="commits", title="Time to commit")
        yield Grid(self.pen, id="peers", title="Peers")

    async def question(self, source: Source) -> None:
        self._network = await source.network()

    def forget(self) -> None:
        super().forget()
        self._network = None

    def draw(self, picture: Picture) -> None:
        self.query_one("#chain", Facts).show(consensus_facts(picture.snapshot.chain, picture.now_ms))
        network = self._network
        if network is None:
            waiting = Table((), (), (self.refusal or "Asking the node.",))
            self.fill("peers", waiting)
            self.fill("committee", Table((), (), ("–",)))
            self.query_one("#commits", Chart).show((), lambda blocks: UNKNOWN)
            return
        here = "" if network.listening is None else f" · listening on {clean(network.listening, 60)}"
        self.query_one("#peers", Grid).entitle(above=f"Peers{here}")
        self.fill("peers", peer_table(network, picture.now_ms))
        self.fill("committee", member_table(network))
        self.query_one("#commits", Chart).show(network.commit_ms, lambda _: latency_caption(network.commit_ms))
