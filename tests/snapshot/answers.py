"""What a node of the fixture photographs answers when it is asked: written out, nothing drawn by chance."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.wire.answers import (
    DayEarnings,
    DayPoint,
    DayView,
    DeviceEarnings,
    EarningsDetail,
    LogLevel,
    LogLine,
    LogTail,
    MemberView,
    NetworkView,
    PeerView,
    SettingsView,
    SettingView,
    TaskEarnings,
)
from potminer.wire.control import (
    DeviceState,
    EarningsView,
    MinerView,
    Outcome,
    RoundView,
    Snapshot,
    TaskDetail,
    TaskView,
    UnitCounts,
    UnitOutcome,
)
from potminer.wire.proven import Backing, Contradiction, ProvenView, RoundOwed

TAKEN = 1_780_000_000_000
DAY = 24 * 3_600_000
TASK = "1f2e3d4c" * 8
HOSTILE = "[bold red]rig[/]\x1b[2J\x1b]0;x\x07\u202eevil\u0301\u0301\u0301\u0301\n[@click=app.quit]x"
"""Markup, escape sequences, a right-to-left override, stacked accents and a line break."""


def key(number: int) -> str:
    return encode_address(bytes([number]) * 32)


MINERS = (
    MinerView(
        name="T-Rex", address="http://127.0.0.1:4067", version="0.26.8", state="mining", control="api",
        devices=("01:00.0", "02:00.0"), hashrate_hs=61_200_000, power_mw=241_000, last_reply_ms=TAKEN - 1_000,
        algorithm="ethash", uptime_s=93_000, accepted=1_204, rejected=3,
    ),
    MinerView(
        name="xmrig", address="http://127.0.0.1:8080", version="6.22.0", state="paused", control="api",
        hashrate_hs=0, last_reply_ms=TAKEN - 2_000, algorithm="rx/0", uptime_s=420, accepted=88, rejected=0,
    ),
    MinerView(name="lolMiner", address="http://127.0.0.1:4444", state="dead", control="process"),
)  # fmt: skip


def round_view(number: int) -> RoundView:
    rejected = {3: {"late": 2}, 7: {"out-of-tolerance": 1, "late": 1}}.get(number % 11, {})
    return RoundView(
        round=number, attempt=1 if number % 17 == 5 else 0, phase="closed",
        opened_ms=TAKEN - (42 - number) * 21_000 - 20_000, closed_ms=TAKEN - (42 - number) * 21_000,
        base=TASK, model=f"{number:02x}" * 32,
        units=UnitCounts(assigned=12, accepted=12 - sum(rejected.values()), rejected=rejected),
        loss_micro=2_000_000 // (number + 2), accuracy_ppm=900_000 + 1_500 * number,
        phases_ms={"commit": 11_400, "reveal": 1_300, "draw": 800, "audit": 4_900, "aggregate": 1_600},
    )  # fmt: skip


def task_detail(name: str = "digits-cnn") -> TaskDetail:
    view = TaskView(
        task=TASK, name=name, requester=key(9), status="open", round=42, rounds=120, phase="audit", trainers=12,
        escrow=600 * 10**9, price_per_unit=10**9,
    )  # fmt: skip
    return TaskDetail(task=view, rounds=tuple(round_view(number) for number in range(41, -1, -1)))


def unit(number: int, *, name: str = "digits-cnn") -> UnitOutcome:
    refused = {2: "late", 5: "out-of-tolerance"}.get(number % 9, "")
    tolerance = refused == "out-of-tolerance"
    return UnitOutcome(
        task=TASK, task_name=name, round=42 - number // 2, slot=number % 12, trainer=key(1),
        outcome=Outcome.PENDING if number == 0 else Outcome.REJECTED if refused else Outcome.ACCEPTED, reason=refused,
        measured_ppm=44_000 if tolerance else None, allowed_ppm=10 if tolerance else None,
        paid=0 if refused or number == 0 else 1_187_500_000, height=None if number == 0 else 1_204_300 - number,
    )  # fmt: skip


def units(name: str = "digits-cnn") -> tuple[UnitOutcome, ...]:
    return tuple(unit(number, name=name) for number in range(24))


def network(agent: str = "potminer/0.1.0", host: str = "198.51.100.7") -> NetworkView:
    peers = tuple(
        PeerView(
            key=key(number), host="2001:db8::17" if number == 5 else host, port=9_333 + number, outbound=number % 3 > 0,
            agent=agent, height=1_204_000 + number, since_ms=TAKEN - 1_000 * 37**(number % 3 + 1),
            sent_bytes=917 * 9**number, received_bytes=1_311 * 8**number,
            queued_bytes=2_400_000 if number == 6 else 0, validator=2 <= number <= 7,
        )
        for number in range(2, 11)
    )  # fmt: skip
    members = tuple(
        MemberView(key=key(number), power=1, linked=None if number == 1 else number != 4, primary=number == 3)
        for number in range(1, 8)
    )
    commits = tuple(38 + (at * 7919) % 23 + (160 if at % 61 == 17 else 0) for at in range(240))
    return NetworkView(
        taken_ms=TAKEN, listening="0.0.0.0:9333", peers=peers, committee=members, commit_ms=commits
    )


DEVICES = tuple(
    DeviceEarnings(bus=bus, accepted=accepted, refused=refused, earned=accepted * 1_900_000)
    for bus, accepted, refused in (("", 12, 1), ("0000:01:00.0", 4_811, 12), ("0000:02:00.0", 4_702, 9))
)


def earnings(*, priced: bool, name: str = "digits-cnn") -> EarningsDetail:
    today = TAKEN - TAKEN % DAY
    days = tuple(
        DayEarnings(
            day_ms=today - back * DAY,
            earned=0 if back % 9 == 4 else 10**8 * (12 + (back * 37) % 29),
            energy_mwh=None if back % 5 == 3 else 10**5 * (9 + (back * 11) % 17),
        )
        for back in range(25, -1, -1)
    )
    tasks = (
        TaskEarnings(
            task=TASK, name=name, status="open", accepted=86, refused=2, pending=420_000_000, paid=88_120_000_000,
            escrow=600 * 10**9,
        ),
        TaskEarnings(
            task="ab" * 32, name="tiny-gpt", status="done", accepted=1_204, refused=11, pending=0,
            paid=1_204 * 10**9, escrow=0,
        ),
    )  # fmt: skip
    money = EarningsView(today=1_234_567_890, pending=420_000_000, paid=88_120_000_000, total=88_540_000_000)
    if not priced:
        return EarningsDetail(
            taken_ms=TAKEN, earnings=money, days=days, tasks=tasks, units=units(name), devices=DEVICES
        )
    money = EarningsView(
        today=money.today, pending=money.pending, paid=money.paid, total=money.total, currency="EUR",
        price_micro=250_000,
    )  # fmt: skip
    return EarningsDetail(
        taken_ms=TAKEN, earnings=money, days=days, tasks=tasks, units=units(name), devices=DEVICES,
        kwh_price_micro=320_000, kwh_currency="EUR",
    )  # fmt: skip


_SAID = (
    (LogLevel.INFO, "node 0a1b2c3d4e5f, chain 9f8e7d6c5b4a, listening on 0.0.0.0:9333"),
    (LogLevel.DEBUG, "block 1204310: RoundClosed"),
    (LogLevel.INFO, "worker 4711: device cuda:0 (sm_86)"),
    (LogLevel.INFO, "0000:01:00.0: training"),
    (LogLevel.WARNING, "peer 3f2e1d0c9b8a penalised: slow (no answer to a request for 30 s)"),
    (LogLevel.INFO, "checkpoint 1204300 is stable"),
    (LogLevel.ERROR, "0c9b8a3f2e1d signed twice: PREPARE at 1204299/0"),
)


def log(text: str = "") -> LogTail:
    lines = tuple(
        LogLine(number=at + 1, time_ms=TAKEN - 1_000 * (90 - at), level=level, text=text or said)
        for at, (level, said) in enumerate(_SAID * 12)
    )
    return LogTail(boot_ms=TAKEN - DAY, lines=lines)


def settings(value: str = "rig-07") -> SettingsView:
    said = (
        ("rig.name", value, "file:3", "what this rig is called on dashboards"),
        ("node.role", "trainer", "default", "what this node does for the network"),
        ("node.host", "0.0.0.0", "default", "address that peers reach us at"),
        ("node.port", "9333", "POTMINER_NODE_PORT", "TCP port for peers; 0 only dials out"),
        ("node.bootstrap", "seed.example:9333", "file:7", "nodes to begin with: host:port or key@host:port"),
        ("payout.address", key(1), "file:10", "where earnings go (pot1...); empty keeps them on the node key"),
        ("idle.policy", "idle_only", "default", "when to train: on idle devices, always, or never"),
        ("power.kwh_price", "", "default", "price of a kWh; empty where unknown"),
        ("miners[1].url", "http://127.0.0.1:4067", "file:21", "its API on this computer"),
    )
    rows = tuple(SettingView(key=name, value=shown, source=source, about=about) for name, shown, source, about in said)
    return SettingsView(file="/home/owner/.local/share/potminer/main/potminer.toml", settings=rows)


def day() -> DayView:
    """Mined at night, idle in the morning, trained since, one fault, and the node was off for two hours."""
    spans = (
        (0, 420, DeviceState.MINING),
        (540, 700, DeviceState.IDLE_WAIT),
        (700, 1_100, DeviceState.TRAINING),
        (1_100, 1_106, DeviceState.FAULT),
        (1_106, 1_180, DeviceState.BLOCKED),
        (1_180, 1_440, DeviceState.TRAINING),
    )
    start = TAKEN // 60_000 * 60_000 - DAY + 60_000
    points = (
        DayPoint(
            at_ms=start + 60_000 * minute, state=state,
            samples_per_s_milli=2_400_000 + 37 * (minute * 7_919 % 9_001) if state is DeviceState.TRAINING else None,
            hashrate_hs=61_000_000 + 311 * (minute * 7_919 % 9_001) if state is DeviceState.MINING else None,
            power_mw=280_000,
        )
        for begin, end, state in spans
        for minute in range(begin, end)
    )  # fmt: skip
    return DayView(points=tuple(points))


def richer(photograph: Snapshot) -> Snapshot:
    """*photograph* with every reading a good driver gives, and miners."""
    devices = tuple(
        replace(
            device, utilisation_ppm=970_000 - 310_000 * at, memory_temperature_milli_c=84_000 + 6_000 * at,
            power_limit_mw=150_000 + 10_000 * at, fan_ppm=(550_000, 610_000, 1_000_000, 0)[at],
            link_width=(1, 1, 1, 16)[at], drives_display=at == 3,
            energy_mj_per_1000=(78_900, 81_200, None, None)[at], carbon_mg_per_1000=(31_200, None, None, None)[at],
            torch=("torch 2.7 or newer", "torch 2.7 or newer", "torch 2.7.1, not newer", "torch for ROCm")[at],
        )
        for at, device in enumerate(photograph.devices)
    )  # fmt: skip
    return replace(photograph, devices=devices, miners=MINERS)


PROVEN = ProvenView(
    backing=Backing.PROVEN, taken_ms=TAKEN - 4_000, key=key(1), height=1_204_310, signers=3, members=4, anchored=True,
    payout=key(2), balance=41_250_000_000, bond=20_000_000_000, unbonding=0, held=0, validator_bond=0, owed=420_000_000,
    rounds=(RoundOwed(task=TASK, round=41, amount=420_000_000),),
)  # fmt: skip
LIE = replace(
    PROVEN, backing=Backing.CONTRADICTED, why="pending: it says 9,420,000,000 grains, proven is 420,000,000 grains",
    contradictions=(
        Contradiction(
            what="pending", said="9,420,000,000 grains", proven="420,000,000 grains", height=1_204_310
        ),
    ),
)  # fmt: skip
