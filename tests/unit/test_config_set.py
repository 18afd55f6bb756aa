"""``config set``: one setting changes, nothing else does, and what is wrong changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potminer.base.errors import ConfigError, Exit, NotPermitted, UsageError
from potminer.cli.main import main
from potminer.node.config import LISTS, Config, config_from, flatten, get_value, plain, schema
from potminer.node.rewrite import changed, replace_file, set_value
from potminer.node.source import parse_source
from potminer.node.template import config_text

HAND_WRITTEN = """# my rig
[node]   # the network
port = 9400   # behind the router

[[miners]]  # the big one
kind = "trex"
url = "http://127.0.0.1:4067"

[rig]
name='rig-07'
"""
SAMPLES = {
    "rig.name": "rig 12", "node.role": "observer", "node.port": "1", "node.bootstrap": "a.b:1,[::1]:2",
    "idle.policy": "off", "idle.min_idle_s": "7", "idle.exclusive": "steam, blender", "worker.device": "cuda:3",
    "worker.nice": "0", "power.kwh_price": "0.31", "power.currency": "EUR", "prices.pot": "1.5", "api.port": "4077",
    "logs.level": "debug", "logs.format": "json",
}  # fmt: skip


def read(text: str) -> Config:
    return config_from(parse_source("test", text), {}, {})


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


def everything(config: Config) -> dict[str, object]:
    return dict(flatten("", plain(config)))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(SAMPLES)), min_size=1, max_size=8), st.sampled_from(["", HAND_WRITTEN]))
def test_what_is_set_is_read_back_and_all_else_stays(keys: list[str], begun: str) -> None:
    text = begun or config_text({})
    for key in keys:
        before = everything(read(text))
        was = comments(text)
        text = changed(text, key, _typed(key))
        after = everything(read(text))
        assert get_value(read(text), key) == get_value(_alone(key), key)
        assert {name for name in after if after.get(name) != before.get(name)} <= {key}
        lost = [comment for comment in was if comment not in comments(text)]
        assert all(re.match(rf"# {key.partition('.')[2]} = ", comment) for comment in lost), "only the shown default"


def _typed(key: str) -> object:
    from potminer.node.config import reader_of

    reader = reader_of(key)
    assert reader is not None
    return reader.spell(SAMPLES[key])


def _alone(key: str) -> Config:
    return config_from(parse_source("", ""), {}, {key: SAMPLES[key]})


def test_every_setting_can_be_set_to_its_default() -> None:
    for entry in schema():
        if entry.key.partition(".")[0] not in LISTS:
            text = changed(config_text({}), entry.key, entry.default)
            assert read(text) == Config(), entry.key


def test_a_missing_file_is_begun_with_every_setting_explained(tmp_path: Path) -> None:
    path = tmp_path / "new" / "potminer.toml"
    set_value(path, "node.port", "9444")
    assert path.read_text() == config_text({"node.port": 9444})


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("node.port", "many", ConfigError),
        ("idle.policy", "never", ConfigError),
        ("node.prot", "1", UsageError),
        ("nothing", "1", UsageError),
        ("miners.kind", "trex", UsageError),
        ("devices.bus", "cpu", UsageError),
        ("payout.address", "pot1qqqq", ConfigError),
    ],
)
def test_what_is_wrong_changes_nothing(tmp_path: Path, key: str, value: str, kind: type[Exception]) -> None:
    path = tmp_path / "potminer.toml"
    path.write_text(HAND_WRITTEN)
    with pytest.raises(kind):
        set_value(path, key, value)
    assert path.read_text() == HAND_WRITTEN
    assert [each.name for each in tmp_path.iterdir()] == ["potminer.toml"]


def test_a_file_with_another_mistake_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "potminer.toml"
    path.write_text("[node]\nprot = 1\n")
    with pytest.raises(ConfigError, match=r"line 2: node\.prot"):
        set_value(path, "node.port", "1")
    assert path.read_text() == "[node]\nprot = 1\n"


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "potminer.toml"
    real.write_text(HAND_WRITTEN)
    real.chmod(0o600)
    link.symlink_to(real)
    set_value(link, "node.port", "9555")
    assert link.is_symlink()
    assert "9555   # behind the router" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotPermitted):
        replace_file(tmp_path / "file" / "potminer.toml", "")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--datadir", str(tmp_path)]
    assert main([*place, "config", "set", "rig.name", "rig-12"]) == Exit.OK
    assert main([*place, "config", "get", "rig.name"]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[-1] == "rig-12"
    assert main([*place, "config", "set", "rig.nane", "x"]) == Exit.USAGE
    assert main([*place, "config", "set", "node.port", "x"]) == Exit.CONFIG
