"""Who may be here: every source with what it says, hides and gets wrong, and the rule that joins them."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.xserver import FakeX

from potminer.world.rig.idle.linux import LinuxPlaces
from potminer.world.rig.idle.macos import MacPlaces
from potminer.world.rig.idle.programs import plain_name, read_programs
from potminer.world.rig.idle.reading import ACTIVE_MS, Presence, Reading, join
from potminer.world.rig.idle.windows import WindowsPlaces, open_windows
from potminer.world.rig.person import REST_MS, Habits, Person
from potminer.world.rig.program import run

NOW = 1_700_000_000_000
ME = 1_000
GNOME_IDLE = b"(uint64 200000,)\n"
HINT_YES = f"IdleHint=yes\nIdleSinceHint={(NOW - 300_000) * 1_000}\n".encode()
HINT_NO = b"IdleHint=no\nIdleSinceHint=0\n"


class Answers:
    """Programs and what they say; everything else is not installed."""

    def __init__(self, **said: bytes | None) -> None:
        self.said = said
        self.asked: list[list[str]] = []

    def __call__(self, argv: Sequence[str]) -> bytes | None:
        self.asked.append(list(argv))
        return self.said.get(Path(argv[0]).name)


def put(path: Path, text: str = "", *, used_at_ms: int = NOW) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(used_at_ms * 1_000_000, used_at_ms * 1_000_000))


def session(root: Path, name: str, **said: str) -> None:
    fields = {"CLASS": "user", "STATE": "active", "UID": str(ME), **said}
    put(root / f"run/systemd/sessions/{name}", "".join(f"{key}={value}\n" for key, value in fields.items()))


def linux(root: Path, said: Answers | None = None, *, remote: bool = True, **environment: str) -> LinuxPlaces:
    return LinuxPlaces(
        wall_ms=lambda: NOW, root=root, environment=environment, run=said or Answers(), remote=remote, user=ME
    )


def idle(places: LinuxPlaces) -> int | None:
    return join(places.readings()).idle_ms


# ---- the rule ----------------------------------------------------------------------------

VALUES = [None, 0, ACTIVE_MS - 1, ACTIVE_MS, 500_000]


def test_nobody_to_ask_is_unknown() -> None:
    assert join(()).presence is Presence.UNKNOWN


@pytest.mark.parametrize("values", list(itertools.product(VALUES, repeat=3)), ids=str)
def test_active_beats_unknown_and_unknown_beats_idle(values: tuple[int | None, ...]) -> None:
    judged = join([Reading(f"place {at}", "test", value) for at, value in enumerate(values)])
    known = [value for value in values if value is not None]
    if known and min(known) < ACTIVE_MS:
        assert (judged.presence, judged.idle_ms) == (Presence.ACTIVE, min(known))
    elif None in values:
        assert (judged.presence, judged.idle_ms) == (Presence.UNKNOWN, None)
    else:
        assert (judged.presence, judged.idle_ms) == (Presence.IDLE, min(known))
    assert judged.because


def test_a_full_screen_is_somebody_who_watches_where_that_counts() -> None:
    film = Reading("session 1", "X11", 7_200_000, full_screen=True)
    assert join([film]).presence is Presence.ACTIVE
    assert join([film], full_screen_counts=False).idle_ms == 7_200_000


# ---- Linux -------------------------------------------------------------------------------


def test_a_machine_without_anything_to_ask_is_unknown(tmp_path: Path) -> None:
    assert linux(tmp_path).readings() == ()
    assert linux(tmp_path).has_seat() is False


def test_x11_is_asked_first_and_believed(tmp_path: Path) -> None:
    session(tmp_path, "2", TYPE="x11", DISPLAY=":5")
    said = Answers(loginctl=HINT_YES)
    with FakeX(tmp_path) as server:
        server.open_to_all = True
        places = linux(tmp_path, said)
        assert idle(places) == 240_000
        server.idle_ms = 3_000
        assert idle(places) == 3_000
    assert said.asked == []
    assert places.has_seat()


def test_what_x11_does_not_know_gnome_does_and_then_logind(tmp_path: Path) -> None:
    session(tmp_path, "2", TYPE="wayland")
    bus = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}
    assert idle(linux(tmp_path, Answers(gdbus=GNOME_IDLE, loginctl=HINT_YES), **bus)) == 200_000
    assert idle(linux(tmp_path, Answers(gdbus=b"Error\n", loginctl=HINT_YES), **bus)) == 300_000
    assert idle(linux(tmp_path, Answers(loginctl=HINT_YES))) == 300_000
    assert idle(linux(tmp_path, Answers(loginctl=HINT_NO), **bus)) is None
    assert idle(linux(tmp_path, Answers(), **bus)) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"IdleHint=yes\n", b"IdleHint=yes\nIdleSinceHint=\n", b"IdleHint=yes\nIdleSinceHint=0\n",
        b"IdleHint=yes\nIdleSinceHint=-5\n", b"IdleHint=yes\nIdleSinceHint=99999999999999999999999\n",
        b"IdleHint=no\nIdleSinceHint=1700000000000000\n", b"\xff\xfe=\xff", b"IdleHint", HINT_NO,
    ],
    ids=repr,
)  # fmt: skip
def test_logind_is_believed_in_a_whole_yes_alone(tmp_path: Path, answer: bytes) -> None:
    session(tmp_path, "2", TYPE="wayland")
    assert idle(linux(tmp_path, Answers(loginctl=answer))) is None


@pytest.mark.parametrize(
    "answer", [b"", b"()", b"(uint64 -1,)", b"(uint64 99999999999999999999,)", b"(uint32 5,)", b"(uint64 5,) x"]
)
def test_gnome_is_believed_in_a_whole_answer_alone(tmp_path: Path, answer: bytes) -> None:
    session(tmp_path, "2", TYPE="wayland")
    assert idle(linux(tmp_path, Answers(gdbus=answer), DBUS_SESSION_BUS_ADDRESS="unix:path=/x")) is None


def test_another_users_gnome_is_not_on_our_bus(tmp_path: Path) -> None:
    session(tmp_path, "2", TYPE="wayland", UID="2000")
    said = Answers(gdbus=GNOME_IDLE)
    assert idle(linux(tmp_path, said, DBUS_SESSION_BUS_ADDRESS="unix:path=/x")) is None
    assert all(argv[0] == "loginctl" for argv in said.asked)


def test_the_least_still_of_all_people_counts(tmp_path: Path) -> None:
    session(tmp_path, "2", TYPE="x11", DISPLAY=":5")
    session(tmp_path, "7", TYPE="wayland", UID="2000")
    put(tmp_path / "dev/tty1", used_at_ms=NOW - 900_000)
    said = Answers(loginctl=HINT_YES)
    with FakeX(tmp_path) as server:
        server.open_to_all, server.idle_ms = True, 700_000
        assert idle(linux(tmp_path, said)) == 300_000
        said.said["loginctl"] = HINT_NO
        assert idle(linux(tmp_path, said)) is None
        put(tmp_path / "dev/pts/0", used_at_ms=NOW - 1_000)
        assert idle(linux(tmp_path, said)) == 1_000


def test_an_x_display_under_wayland_is_not_asked(tmp_path: Path) -> None:
    session(tmp_path, "2", TYPE="wayland", DISPLAY=":5")
    with FakeX(tmp_path) as server:
        server.open_to_all, server.idle_ms = True, 9_000_000
        assert idle(linux(tmp_path, DISPLAY=":5")) is None
        assert idle(linux(tmp_path, DISPLAY=":5", WAYLAND_DISPLAY="wayland-0")) is None
    assert server.greetings == 0


def test_a_display_without_a_session_is_a_place(tmp_path: Path) -> None:
    put(tmp_path / "dev/tty1", used_at_ms=NOW - 900_000)
    with FakeX(tmp_path) as server:
        assert linux(tmp_path).has_seat()
        assert idle(linux(tmp_path)) is None
        server.open_to_all = True
        assert idle(linux(tmp_path)) == 240_000
    assert idle(linux(tmp_path)) == 900_000


def test_a_login_screen_is_nobody_but_what_it_tells_counts(tmp_path: Path) -> None:
    put(tmp_path / "dev/tty1", used_at_ms=NOW - 900_000)
    session(tmp_path, "c1", TYPE="x11", CLASS="greeter", DISPLAY=":5")
    with FakeX(tmp_path) as server:
        assert idle(linux(tmp_path)) == 900_000
        server.open_to_all, server.idle_ms = True, 2_000
        assert idle(linux(tmp_path)) == 2_000


def test_a_forwarded_display_is_somewhere_else(tmp_path: Path) -> None:
    assert linux(tmp_path, DISPLAY="localhost:10.0").has_seat() is False
    assert linux(tmp_path, DISPLAY="localhost:10.0").readings() == ()
    assert linux(tmp_path, DISPLAY="unix:0.0").has_seat() is True


def test_remote_people_count_where_their_owner_says_so(tmp_path: Path) -> None:
    put(tmp_path / "dev/tty1", used_at_ms=NOW - 900_000)
    put(tmp_path / "dev/pts/0", used_at_ms=NOW - 5_000)
    session(tmp_path, "9", TYPE="x11", REMOTE="1", UID="2000")
    assert idle(linux(tmp_path)) == 5_000
    assert idle(linux(tmp_path, remote=False)) == 900_000
    assert linux(tmp_path).has_seat() is True
    assert linux(tmp_path, remote=False).has_seat() is False


def test_a_crowd_is_unknown_rather_than_slow(tmp_path: Path) -> None:
    for number in range(20):
        session(tmp_path, str(number), TYPE="wayland")
    said = Answers(loginctl=HINT_YES)
    assert idle(linux(tmp_path, said)) is None
    assert len(said.asked) == 4


def test_session_files_with_odd_names_are_left_alone(tmp_path: Path) -> None:
    session(tmp_path, "2.ref", TYPE="x11")
    session(tmp_path, "--help", TYPE="wayland")
    session(tmp_path, "5", TYPE="wayland", STATE="closing")
    session(tmp_path, "6", TYPE="tty")
    assert linux(tmp_path).readings() == ()


# ---- Windows -----------------------------------------------------------------------------


class FakeWindows:
    """user32, kernel32 and shell32 in one: functions take what ctypes would hand them."""

    def __init__(self) -> None:
        self.session, self.console, self.ticks, self.last, self.state = 1, 1, 500_000, 300_000, 5
        self.fails: set[str] = set()

    def ProcessIdToSessionId(self, pid: int, out: Any) -> int:
        out._obj.value = self.session
        return int("ProcessIdToSessionId" not in self.fails)

    def WTSGetActiveConsoleSessionId(self) -> int:
        return self.console

    def GetLastInputInfo(self, out: Any) -> int:
        assert out._obj.cbSize == 8
        out._obj.dwTime = self.last
        return int("GetLastInputInfo" not in self.fails)

    def GetTickCount(self) -> int:
        return ctypes.c_int(self.ticks).value

    def SHQueryUserNotificationState(self, out: Any) -> int:
        out._obj.value = self.state
        return -1 if "SHQueryUserNotificationState" in self.fails else 0


def windows(fake: FakeWindows) -> Reading:
    (reading,) = WindowsPlaces(user32=fake, kernel32=fake, shell32=fake, pid=4).readings()
    return reading


@pytest.mark.parametrize(
    ("ticks", "last", "idle_ms"),
    [
        (500_000, 300_000, 200_000),
        (1_000, 2**32 - 4_000, 5_000),
        (2**31 + 100, 2**31 - 100, 200),
        (300_000, 300_005, 0),
    ],
    ids=["plain", "ticks-began-anew", "sign", "input-between"],
)
def test_windows_counts_ticks_round_the_clock(ticks: int, last: int, idle_ms: int) -> None:
    fake = FakeWindows()
    fake.ticks, fake.last = ticks, last
    assert windows(fake).idle_ms == idle_ms


def test_a_windows_service_and_a_second_person_are_unknown() -> None:
    fake = FakeWindows()
    fake.session = fake.console = 0
    assert windows(fake).idle_ms is None
    fake.session, fake.console = 2, 1
    assert windows(fake).idle_ms is None
    fake.console = -1
    assert windows(fake).idle_ms is None


@pytest.mark.parametrize("call", ["ProcessIdToSessionId", "GetLastInputInfo"])
def test_windows_that_does_not_say_is_unknown(call: str) -> None:
    fake = FakeWindows()
    fake.fails.add(call)
    assert windows(fake).idle_ms is None


@pytest.mark.parametrize(("state", "full"), [(1, False), (2, True), (3, True), (4, True), (5, False), (42, None)])
def test_windows_tells_of_full_screens(state: int, full: bool | None) -> None:
    fake = FakeWindows()
    fake.state = state
    assert windows(fake).full_screen is full
    fake.fails.add("SHQueryUserNotificationState")
    assert windows(fake).full_screen is None


def test_windows_is_asked_on_windows_alone() -> None:
    assert (open_windows(1) is None) is (sys.platform != "win32")


# ---- macOS -------------------------------------------------------------------------------

IOREG = b"""+-o IOHIDSystem  <class IOHIDSystem, id 0x1, registered, matched, active, busy 0 (0 ms), retain 20>
    {
      "HIDIdleTime" = 185000000123
      "IOClass" = "IOHIDSystem"
      "HIDParameters" = {"HIDIdleTime"=190000000000,"HIDClickTime"=500000000}
    }
"""


def mac(root: Path, said: Answers, *, remote: bool = True) -> int | None:
    return join(MacPlaces(wall_ms=lambda: NOW, root=root, run=said, remote=remote).readings()).idle_ms


def test_macos_counts_nanoseconds_and_terminals(tmp_path: Path) -> None:
    assert mac(tmp_path, Answers(ioreg=IOREG)) == 185_000
    put(tmp_path / "dev/ttys001", used_at_ms=NOW - 90_000)
    assert mac(tmp_path, Answers(ioreg=IOREG)) == 90_000
    assert mac(tmp_path, Answers(ioreg=IOREG), remote=False) == 185_000


@pytest.mark.parametrize("answer", [None, b"", b"{}", b'"HIDIdleTime" = no', b'"HIDIdleTime" = -1'])
def test_macos_that_does_not_say_is_unknown(tmp_path: Path, answer: bytes | None) -> None:
    put(tmp_path / "dev/ttys001", used_at_ms=NOW - 900_000)
    assert mac(tmp_path, Answers(ioreg=answer)) is None


# ---- a person ----------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["freebsd14", "sunos5", "cygwin", "emscripten", "win32", "", "linux", "darwin"])
def test_no_platform_is_idle_for_want_of_a_source(tmp_path: Path, platform: str) -> None:
    """The trap of an idle time that is endless where nothing is supported."""
    person = Person(wall_ms=lambda: NOW, root=tmp_path, environment={}, platform=platform)
    if platform != "win32" or sys.platform != "win32":
        assert person.idle_ms() is None
        assert person.judge().presence is Presence.UNKNOWN


class Changing:
    def __init__(self, idle_ms: int | None) -> None:
        self.idle_ms = idle_ms
        self.asked = 0

    def has_seat(self) -> bool | None:
        return True

    def readings(self) -> Sequence[Reading]:
        self.asked += 1
        return (Reading("the screen", "test", self.idle_ms),)


@pytest.mark.parametrize(("idle_ms", "asked"), [(None, 1), (0, 1), (ACTIVE_MS, 3)])
def test_the_end_of_idleness_is_never_missed_and_its_beginning_may_wait(idle_ms: int | None, asked: int) -> None:
    now = [NOW]
    places = Changing(idle_ms)
    person = Person(wall_ms=lambda: now[0], environment={}, places=places)
    for _ in range(3):
        assert person.idle_ms() == idle_ms
        now[0] += REST_MS // 3
    assert places.asked == asked
    now[0] += REST_MS
    places.idle_ms = 400_000
    assert person.idle_ms() == 400_000
    now[0] -= 10 * REST_MS
    places.idle_ms = 5
    assert person.idle_ms() == 5


def test_a_clock_that_jumps_back_is_not_an_old_answer() -> None:
    now = [NOW]
    places = Changing(0)
    person = Person(wall_ms=lambda: now[0], environment={}, places=places)
    person.idle_ms()
    now[0] -= 3_600_000
    person.idle_ms()
    assert places.asked == 2


def test_an_exclusive_program_is_somebody(tmp_path: Path) -> None:
    me = psutil.Process().name()
    alone = Habits(exclusive=(me.upper() + ".EXE",))
    assert Person(wall_ms=lambda: NOW, environment={}, places=Changing(900_000), habits=alone).idle_ms() == 0
    other = Habits(exclusive=("no-such-program-here",))
    assert Person(wall_ms=lambda: NOW, environment={}, places=Changing(900_000), habits=other).idle_ms() == 900_000
    assert read_programs((), lambda: pytest.fail("nobody asked for it")) is None
    assert plain_name(" Blender.EXE ") == "blender"


# ---- asking programs ---------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_program_is_asked_once_and_quickly() -> None:
    assert run(python("print('here')"), deadline_ms=20_000) in (b"here\n", b"here\r\n")


@pytest.mark.parametrize(
    ("argv", "deadline_ms"),
    [
        (["/no/such/program"], 1_000),
        (python("raise SystemExit(3)"), 20_000),
        (python("import time; time.sleep(60)"), 200),
        (python("while True: print('x' * 9999)"), 20_000),
        (python("import sys, time; sys.stdout.close(); time.sleep(60)"), 2_000),
    ],
    ids=["missing", "fails", "hangs", "floods", "closes and stays"],
)
def test_a_program_that_misbehaves_has_no_answer(argv: list[str], deadline_ms: int) -> None:
    assert run(argv, deadline_ms=deadline_ms, max_bytes=1_000) is None
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    assert not [p for p in alive if argv[-1] in p.cmdline()]


GDBUS: list[Callable[[], bytes | None]] = [
    lambda: run(
        ["dbus-run-session", "--", "gdbus", "call", "--session", "--timeout", "1", "--dest", "org.gnome.Nobody",
         "--object-path", "/x", "--method", "org.gnome.Nobody.GetIdletime"],
        deadline_ms=20_000,
    )
] if shutil.which("dbus-run-session") and shutil.which("gdbus") else []  # fmt: skip


@pytest.mark.parametrize("ask", GDBUS)
def test_a_real_bus_without_gnome_has_no_answer(ask: Callable[[], bytes | None]) -> None:
    assert ask() is None
