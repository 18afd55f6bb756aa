"""The config: what is said wins in order, every mistake is named at once, and templates read back."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from potminer.base.address import encode_address
from potminer.base.errors import ConfigError, Exit, UsageError
from potminer.cli.main import cli, main
from potminer.node.config import (
    MINERS,
    SECTIONS,
    Config,
    Seed,
    config_from,
    flatten,
    get_value,
    load_config,
    parse_seed,
    plain,
    schema,
)
from potminer.node.source import MAX_BYTES, Source, parse_source, read_source
from potminer.node.template import config_text
from potminer.world.paths import locate

KEY = bytes(range(32))


def config_of(text: str, environ: dict[str, str] | None = None, **flags: object) -> Config:
    return config_from(parse_source("x.toml", text), environ or {}, {k.replace("__", "."): v for k, v in flags.items()})


def mistakes(text: str, environ: dict[str, str] | None = None, **flags: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config_of(text, environ, **flags)
    assert caught.value.exit == Exit.CONFIG == 3
    assert caught.value.hint
    return [line.strip() for line in caught.value.what.splitlines()[1:]]


def test_nothing_said_means_the_defaults() -> None:
    config = config_of("")
    assert config == Config()
    assert (config.idle.policy, config.idle.min_idle_s, config.idle.quiet_s) == ("idle_only", 180, 60)
    assert config.payout.address is None
    assert config.miners == ()


def test_flags_win_over_the_environment_over_the_file_over_defaults() -> None:
    text, environ = "[node]\nport = 1\n", {"POTMINER_NODE_PORT": "2"}
    assert config_of("").node.port == 9_333
    assert config_of(text).node.port == 1
    assert config_of(text, environ).node.port == 2
    assert config_of(text, environ, node__port=3).node.port == 3
    assert config_of(text, environ, node__port=None).node.port == 2
    assert config_of(text, environ, node__port="4").node.port == 4


def test_a_whole_file_is_read() -> None:
    address = encode_address(KEY)
    config = config_of(
        f"""
        [rig]
        name = "Rig 7"
        [node]
        role = "validator"
        host = "::"
        bootstrap = ["a.example:1", "{address}@[::1]:2", "{KEY.hex()}@10.0.0.1:3"]
        [payout]
        address = "{address}"
        [[miners]]
        kind = "trex"
        url = "http://127.0.0.1:4067"
        [[miners]]
        kind = "xmrig"
        url = "http://[::1]:8080"
        token_file = "xmrig.token"
        [logs]
        format = "json"
        """
    )
    assert config.node.bootstrap == (Seed("a.example", 1), Seed("::1", 2, KEY), Seed("10.0.0.1", 3, KEY))
    assert config.payout.address == KEY
    assert [miner.kind for miner in config.miners] == ["trex", "xmrig"]
    assert get_value(config, "node.bootstrap") == [
        "a.example:1", f"{address}@[::1]:2", f"{address}@10.0.0.1:3"
    ]  # fmt: skip


def test_every_mistake_is_named_at_once_with_its_line() -> None:
    said = mistakes(
        """[rig]
nam = "x"
[node]
port = 70000
bootstrap = [
  "a:1",   # fine
  "b:99999",
  "potx@c:1",
]
[minerz]
[idle]
policy = "idle-only"
[[miners]]
kind = "xmrg"
url = "http://8.8.8.8:80"
[[miners]]
[api]
port = true
""",
        {"POTMINER_NODE_PROT": "1", "POTMINER_API_SOCKET": "\x1b[2J"},
        logs__level="loud",
    )
    wanted = {
        "POTMINER_NODE_PROT: no such key; did you mean POTMINER_NODE_PORT?",
        "line 2: rig.nam: no such key; did you mean name?",
        "line 4: node.port: 70000 must be a whole number from 0 to 65,535",
        "line 7: node.bootstrap[2]: 'b:99999' must be host:port or key@host:port",
        "line 8: node.bootstrap[3]: 'potx@c:1' is not an address: one is pot1 and 58 letters and digits",
        "line 10: minerz: no such section; did you mean miners?",
        "line 12: idle.policy: 'idle-only' must be one of idle_only, profit, always, off; did you mean idle_only?",
        "line 15: miners[1].url: 'http://8.8.8.8:80' must be on this computer: 127.0.0.1, [::1] or localhost",
        "line 16: miners[2].kind: is missing: which miner program this is; process: one that potminer starts and ends",
        "line 18: api.port: True must be a whole number from 0 to 65,535",
    }
    assert wanted <= set(said)
    assert sum("did you mean xmrig?" in line for line in said) == 1
    assert sum(line.startswith("command line: logs.level") for line in said) == 1
    assert sum(line.startswith("POTMINER_API_SOCKET") for line in said) == 1
    assert len(said) == len(wanted) + 4
    assert "\x1b" not in "".join(said)


@pytest.mark.parametrize("url", [
    "http://127.0.0.1", "ftp://127.0.0.1:1", "http://user:pw@127.0.0.1:1", "http://127.0.0.1:0", "http://127.0.0.1:99999",
    "http://example.org:80", "http://127.0.0.1.example.org:80", "//127.0.0.1:1", "", "http://[::1", "http://0.0.0.0:1",
])  # fmt: skip
def test_a_miner_is_reached_on_this_computer_only(url: str) -> None:
    (said,) = mistakes(f'[[miners]]\nkind = "trex"\nurl = "{url}"\n')
    assert said.startswith("line 3: miners[1].url:")


@pytest.mark.parametrize(
    "seed", ["", "a", "a:", ":1", "a:0", "a:65536", "a:123456", "a b:1", "@a:1", "x@a:1", "::1:9", "[a:1", "a:1\n"]
)
def test_what_is_no_node_to_begin_with_is_refused(seed: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_seed(seed)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_is_a_seed_or_a_value_error(text: str) -> None:
    try:
        seed = parse_seed(text)
    except ValueError:
        return
    assert parse_seed(str(plain(seed))) == seed


@pytest.mark.parametrize("text", ["[node", "a = 1\na = 2", "node = 3", "[[node]]", "miners = 1", "[miners]", "\x00"])
def test_what_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        config_of(text)


def test_unrelated_variables_are_left_alone() -> None:
    environ = {"POTMINER_DATADIR": "/x", "POTMINER_NETWORK": "dev", "PATH": "/bin", "POTMINER_NODE_ROLE": "observer"}
    assert config_of("", environ).node.role == "observer"


def test_lists_are_bounded() -> None:
    miner = '[[miners]]\nkind = "trex"\nurl = "http://127.0.0.1:1"\n'
    assert len(config_of(miner * MINERS).miners) == MINERS
    assert "more than" in mistakes(miner * (MINERS + 1))[0]
    assert "a list of 0 to 64 entries" in mistakes(f"[node]\nbootstrap = {['a:1'] * 65}")[0]


def test_many_mistakes_are_cut_off() -> None:
    said = mistakes("\n".join(f"zz{i} = 1" for i in range(200)))
    assert len(said) == 51
    assert said[-1] == "and 150 more"


def test_a_file_that_is_too_large_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    with pytest.raises(ConfigError, match=r"x\.toml: No such file"):
        load_config(path, {})
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load_config(path, {})
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        load_config(path, {})


def test_lines_are_found_in_every_kind_of_toml() -> None:
    text = '''# a comment with [brackets] = and "quotes
top = 1
[a.b] # x [y]
k = "s # [not] \\" = "
"q k".z = 3
m = """
[fake]
x = 1
"""
l = [
  1, # one
  [2, 3],
  {a = 1, b = 2},
]
[[w]]
u = 'c:\\'
[[w]]
u = 2
[w.sub]
deep = 1.5
[last]'''
    source = parse_source("t", text)
    expected = {
        ("top",): 2, ("a", "b"): 3, ("a", "b", "k"): 4, ("a", "b", "q k", "z"): 5, ("a", "b", "m"): 6,
        ("a", "b", "l"): 10, ("a", "b", "l", 0): 11, ("a", "b", "l", 1): 12, ("a", "b", "l", 2): 13,
        ("w", 0): 15, ("w", 0, "u"): 16, ("w", 1): 17, ("w", 1, "u"): 18, ("w", 1, "sub", "deep"): 20, ("last",): 21,
    }  # fmt: skip
    assert {place: source.line(place) for place in expected} == expected
    assert source.line(("a", "b", "l", 2, "b")) == 13
    assert source.line(("nowhere",)) == 0
    assert ("fake",) not in source.lines
    assert parse_source("t", text.replace("\n", "\r\n")).lines == source.lines


def test_the_template_is_sound_and_says_only_what_it_was_told() -> None:
    assert config_of(config_text({})) == Config()
    text = config_text({"rig.name": "r", "node.bootstrap": ["a:1"], "payout.address": encode_address(KEY)})
    config = config_of(text)
    assert (config.rig.name, config.node.bootstrap, config.payout.address) == ("r", (Seed("a", 1),), KEY)


def test_every_commented_default_in_the_template_is_the_default() -> None:
    lines = [line.removeprefix("# ") for line in config_text({}).splitlines()]
    keep = [line for line in lines if line.startswith("[") or " = " in line]
    text = "\n".join(keep[: keep.index("[[miners]]")])
    assert len([line for line in text.splitlines() if " = " in line]) == sum(len(fields(s)) for s in SECTIONS.values())
    assert config_of(text) == Config()


def test_the_schema_lists_every_key_once_with_words() -> None:
    entries = schema()
    keys = [entry.key for entry in entries]
    assert len(keys) == len(set(keys))
    assert {key.partition(".")[0] for key in keys} == {f.name for f in fields(Config)}
    assert all(entry.about and entry.kind for entry in entries)
    for entry in entries:
        if not entry.key.startswith(("devices.", "miners.")):
            assert get_value(Config(), entry.key) == entry.default


@pytest.mark.parametrize(
    "key", ["", "node.", "nod", "node.por", "node.port.x", "__class__", "rig.__class__", "miners.x"]
)
def test_an_unknown_key_has_no_value(key: str) -> None:
    if key != "node.":
        with pytest.raises(KeyError):
            get_value(Config(), key)


def test_values_flatten_to_dotted_keys() -> None:
    assert flatten("", {"a": {"b": 1}, "c": [{"d": 2}], "e": [3]}) == [("a.b", 1), ("c[1].d", 2), ("e", [3])]


def test_sources_without_a_file_have_no_lines() -> None:
    assert mistakes_of_environment({"POTMINER_NODE_PORT": "x"}) == [
        "POTMINER_NODE_PORT: node.port: 'x' must be a whole number from 0 to 65,535"
    ]


def mistakes_of_environment(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environ)
    return [line.strip() for line in caught.value.what.splitlines()[1:]]


# ---- the commands ------------------------------------------------------------------------


def run(datadir: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["--datadir", str(datadir), *arguments], standalone_mode=False)
    return (0 if done.exception is None else getattr(done.exception, "exit", 1)), done.output


def test_init_writes_what_check_and_get_read(tmp_path: Path) -> None:
    code, said = run(tmp_path, "init", "--name", "rig 9", "--bootstrap", "a.example:1", "--json")
    assert code == 0
    first = json.loads(said)
    assert first["written"] is True
    assert read_source(tmp_path / "potminer.toml").table["rig"] == {"name": "rig 9"}
    assert run(tmp_path, "config", "check") == (0, f"{tmp_path / 'potminer.toml'} is sound\n")
    assert run(tmp_path, "config", "get", "rig.name") == (0, "rig 9\n")
    assert run(tmp_path, "config", "path") == (0, f"{tmp_path / 'potminer.toml'}\n")
    again = json.loads(run(tmp_path, "init", "--name", "other", "--json")[1])
    assert (again["node"], again["written"]) == (first["node"], False)
    assert run(tmp_path, "config", "get", "rig.name")[1] == "rig 9\n"


def test_init_judges_before_it_writes(tmp_path: Path) -> None:
    assert main(["--datadir", str(tmp_path / "new"), "init", "--payout", "pot1nonsense"]) == 3
    assert not (tmp_path / "new").exists()


def test_commands_end_with_the_exit_code_of_the_mistake(tmp_path: Path) -> None:
    (tmp_path / "potminer.toml").write_text("[nod]\n")
    assert main(["--datadir", str(tmp_path), "config", "check"]) == 3
    (tmp_path / "potminer.toml").write_text("")
    assert main(["--datadir", str(tmp_path), "config", "check"]) == 0
    assert main(["--datadir", str(tmp_path), "config", "get", "node.prot"]) == 2
    assert main(["--config", str(tmp_path / "missing.toml"), "config", "check"]) == 3
    assert main(["config", "schema", "--json"]) == 0


def test_config_without_a_file_shows_the_defaults(tmp_path: Path) -> None:
    code, said = run(tmp_path, "config", "get", "--json")
    assert code == 0
    assert json.loads(said)["value"] == plain(Config())
    assert Source("x", {}, {}).line(("a",)) == 0


def test_a_profile_is_another_config_file_of_the_same_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--datadir", str(tmp_path)]
    assert main([*here, "init", "--yes"]) == Exit.OK
    assert main([*here, "--profile", "night", "init", "--yes", "--idle-policy", "always"]) == Exit.OK
    capsys.readouterr()
    for flags, said in (([], "idle_only"), (["--profile", "night"], "always")):
        assert main([*here, *flags, "config", "get", "idle.policy"]) == Exit.OK
        assert capsys.readouterr().out.strip() == said
    assert main([*here, "--profile", "night", "config", "check", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["file"] == str(tmp_path / "potminer.night.toml")


def test_the_command_line_names_the_config_before_the_environment_does(tmp_path: Path) -> None:
    told = partial(locate, datadir=tmp_path)
    night, other = tmp_path / "potminer.night.toml", tmp_path / "other.toml"
    assert told({}).config == tmp_path / "potminer.toml"
    assert told({"POTMINER_PROFILE": "night"}).config == night
    assert told({"POTMINER_CONFIG": str(other)}, profile="night").config == night
    assert told({"POTMINER_PROFILE": "night"}, config=other).config == other
    with pytest.raises(UsageError, match="both named"):
        told({"POTMINER_CONFIG": "a", "POTMINER_PROFILE": "b"})
    with pytest.raises(UsageError, match="both named"):
        told({}, config=other, profile="b")


@pytest.mark.parametrize("flags", [["--config", "nowhere.toml"], ["--profile", "nowhere"]])
def test_a_config_that_was_named_must_be_there_for_the_daemon_too(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--datadir", str(tmp_path), *flags, "run", "--headless"]) == Exit.CONFIG
    assert "nowhere.toml: No such file" in capsys.readouterr().err
