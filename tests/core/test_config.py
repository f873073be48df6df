import itertools
import json
import os
import tomllib
from pathlib import Path

import pytest

from gateway.config import Settings, config_text, load
from gateway.core.errors import Misconfigured
from gateway.core.note import LogIdentity, WitnessIdentity
from keys.signing import LogKeys

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch):
    for name in list(os.environ):
        if name.startswith("ART18_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_the_example_is_the_defaults(write):
    path = write(EXAMPLE.read_text())
    as_written = load(path)
    path.write_text("")
    assert as_written == load(path)


def test_the_example_has_every_key_with_a_comment():
    text = EXAMPLE.read_text()
    assert text == config_text({}, every=True)
    tables = tomllib.loads(text)
    assert {table: set(keys) for table, keys in tables.items()} == {
        table: set(type(field.default).model_fields) for table, field in Settings.model_fields.items()
    }
    lines = text.splitlines()
    for before, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert before.startswith("# "), line


def test_a_chosen_key_is_set_and_the_others_are_comments(write):
    path = write(config_text({"hook": {"port": 9000}, "authority": {"name": 'Ministère «"J"» \\ 司法部'}}))
    settings = load(path)
    assert settings.hook.port == 9000
    assert settings.authority.name == 'Ministère «"J"» \\ 司法部'
    assert set(tomllib.loads(path.read_text())["hook"]) == {"port"}


def test_paths_are_relative_to_the_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    settings = load(write('[keys]\nvault = "k/vault"\n[store]\nblobs = "/srv/blobs"\n'))
    assert settings.keys.vault == tmp_path / "k/vault"
    assert settings.store.blobs == Path("/srv/blobs")
    assert settings.store.url == f"sqlite:///{tmp_path}/gateway.db"


def test_the_environment_wins(write, monkeypatch):
    monkeypatch.setenv("ART18_HOOK__PORT", "9100")
    monkeypatch.setenv("ART18_LOG__LEVEL", "debug")
    settings = load(write("[hook]\nport = 9000\n"))
    assert settings.hook.port == 9100
    assert settings.log.level == "debug"


def test_every_mistake_is_told_at_once_by_its_key(write, monkeypatch):
    monkeypatch.setenv("ART18_LOG__LEVEL", "loud")
    monkeypatch.setenv("ART18_HOK__PORT", "1")
    path = write(
        'stray = 1\n[hook]\nport = 99999\nprot = 1\n[authority]\nid = "QM"\ndomain = "https://qm"\n'
        '[store]\nurl = "mysql://s3cret"\n[fedration]\nport = 1\n'
    )
    with pytest.raises(Misconfigured) as caught:
        load(path)
    text = str(caught.value)
    for expected in (
        "\n  stray: no such key",
        "\n  hook.port: ",
        "\n  hook.prot: no such key",
        "\n  authority.id: an authority id looks like qm.moj",
        "\n  authority.domain: ",
        "\n  store.url: sqlite:///FILE",
        "\n  fedration: no such key",
        "\n  log.level (from ART18_LOG__LEVEL): ",
        "\n  ART18_HOK__PORT: no such table",
    ):
        assert expected in text
    assert "s3cret" not in text


@pytest.mark.parametrize("text", ["[hook", "port = = 1", "[hook]\nport = 1\nport = 2"])
def test_what_is_not_toml_says_where(write, text):
    with pytest.raises(Misconfigured, match=r"is not TOML: .*\(at "):
        load(write(text))


def test_a_missing_file_and_a_broken_override_are_misconfigured(write, tmp_path, monkeypatch):
    with pytest.raises(Misconfigured, match="cannot be read"):
        load(tmp_path / "none.toml")
    monkeypatch.setenv("ART18_HOOK", "{")
    with pytest.raises(Misconfigured, match="hook"):
        load(write(""))


def test_a_path_may_name_the_folder_of_credentials(write, monkeypatch):
    path = write('[keys]\npassphrase_file = "${CREDENTIALS_DIRECTORY}/vault"\n')
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(Misconfigured, match=r"keys\.passphrase_file: CREDENTIALS_DIRECTORY is not set"):
        load(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/art18")
    assert load(path).keys.passphrase_file == Path("/run/credentials/art18/vault")


def test_settings_are_frozen(write):
    settings = load(write(""))
    with pytest.raises(ValueError, match="frozen"):
        settings.hook.port = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        settings.hook = settings.hook  # type: ignore[misc]


WITNESS = WitnessIdentity(
    "witness.example", *(LogKeys.generate().ed.public, LogKeys.generate().lattice.public)
)
OTHER = WitnessIdentity("other.example", *(LogKeys.generate().ed.public, LogKeys.generate().lattice.public))
LOG_KEY = LogIdentity("witness.example", WITNESS.ed_public, WITNESS.lattice_public).vkeys()[0]


def witnesses(*vkeys: str, url: str = "https://witness.example/w") -> str:
    return f"[audit]\nwitnesses = [{{ url = {json.dumps(url)}, vkeys = {json.dumps(list(vkeys))} }}]\n"


def test_witnesses_are_named_by_address_and_keys(write):
    for vkeys in (WITNESS.vkeys(), WITNESS.vkeys()[:1], WITNESS.vkeys()[1:]):
        (found,) = load(write(witnesses(*vkeys))).audit.witnesses
        assert (found.name, found.vkeys) == ("witness.example", vkeys)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (witnesses(), "vkeys"),
        (witnesses("nothing"), "a vkey is name"),
        (witnesses(LOG_KEY), "of type 0x04 and 0x06"),
        (witnesses(WITNESS.vkeys()[0], OTHER.vkeys()[1]), "bear one name"),
        (witnesses(WITNESS.vkeys()[0], WITNESS.vkeys()[0]), "one of each type"),
        (witnesses(*WITNESS.vkeys(), url="ftp://witness.example"), "url"),
        (witnesses(*WITNESS.vkeys()) + "\n", None),
    ],
)
def test_a_witness_that_is_not_right_is_told_at_once(write, text, why):
    path = write(text)
    if why is None:
        load(path)
        return
    with pytest.raises(Misconfigured, match=why):
        load(path)


def test_each_witness_is_named_once(write):
    one = f'{{ url = "https://a.example", vkeys = {json.dumps(list(WITNESS.vkeys()))} }}'
    with pytest.raises(Misconfigured, match="named once"):
        load(write(f"[audit]\nwitnesses = [{one}, {one}]\n"))


@pytest.mark.parametrize(
    "rule",
    [
        '{ kinds = "Request", days = 1 }',
        '{ kinds = "*", days = 0 }',
        '{ kinds = "*", days = 1, after = "read" }',
    ],
)
def test_a_policy_that_is_not_right(write, rule):
    with pytest.raises(Misconfigured, match="retention"):
        load(write(f"[retention]\nrules = [{rule}]\n"))
