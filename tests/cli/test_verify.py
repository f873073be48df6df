"""`art18 verify`: off line, in this process, and from a wheel on a machine that has nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.program import art18
from gateway.core.card import fingerprint
from tests.core.test_misbehaviour import item
from tests.support.authorities import make_authority
from tests.support.evidence import OUTSIDE, make_case

CASE = make_case()
ROOT = Path(__file__).parents[2]


def root(party):
    return "--root", f"{party.id}={fingerprint(party.card)}"


ROOTS = (*root(CASE.sender), *root(CASE.recipient))


def verify(*words, code=0):
    done = CliRunner(env={"ART18_CONFIG": None}).invoke(art18, ["verify", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A bundle, in a folder with nothing else."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evidence.zip"
    path.write_bytes(CASE.raw)
    return path


def test_it_says_line_by_line_what_is_proved_and_what_is_not(file):
    told = verify(file, *ROOTS).stdout
    lines = [line.strip() for line in told.splitlines()]
    assert lines[0].startswith("\N{CHECK MARK} The bundle is whole")
    assert any(
        line.startswith("\N{CHECK MARK} qn.moj logged relay.accepted: entry 1 of qn-moj.example/audit/1")
        for line in lines
    )
    assert any(line.startswith("\N{WHITE CIRCLE} Nobody has authenticated qp.moj") for line in lines)
    assert lines[-1] == "What is marked with a check mark holds; 5 of the lines above say what is not proved."
    everything = verify(file, *ROOTS, *root(CASE.third)).stdout
    assert everything.splitlines()[-1] == "All of it holds."


def test_without_roots_nobody_is_authenticated(file):
    done = verify(file, code=4)
    assert "nobody has authenticated qm.moj and qn.moj" in done.stderr
    assert "\N{WHITE CIRCLE} Whoever calls itself qn.moj logged relay.accepted" in done.stdout


def test_the_first_thing_that_fails_is_named(file):
    file.write_bytes(CASE.with_part("checkpoints/peer-7.txt", b"nothing\n").raw)
    done = verify(file, *ROOTS, code=4)
    assert done.stderr.startswith("art18: statement: ")
    assert "checkpoints/peer-7.txt" in done.stderr


def test_as_data(file):
    found = json.loads(verify(file, *ROOTS, "--output", "json").stdout)
    assert found["verified"] is True
    assert found["failure"] is None
    assert {one["what"] for one in found["findings"]} == {"whole", "cards", "signed", "logged", "cosigned"}
    file.write_bytes(CASE.raw[:-40])
    done = verify(file, *ROOTS, "--output", "json", code=4)
    assert json.loads(done.stdout)["failure"]["code"] == "zip"


def test_files_are_compared_with_the_attachments_that_were_signed(file, tmp_path):
    summons, other = tmp_path / "received.pdf", tmp_path / "other.pdf"
    summons.write_bytes(CASE.blob.plain)
    other.write_bytes(b"something else")
    told = verify(file, *ROOTS, "--attachment", summons).stdout
    assert "received.pdf is the attachment 'summons.txt' as it was signed." in told
    done = verify(file, *ROOTS, "--attachment", summons, "--attachment", other, code=4)
    assert done.stderr.startswith("art18: attachment: ")


def test_a_policy_names_roots_and_witnesses(file, tmp_path):
    policy = tmp_path / "policy.toml"
    lines = ["[roots]"]
    lines += [f'"{party.id}" = "{fingerprint(party.card)}"' for party in (CASE.sender, CASE.recipient)]
    lines += ["[[witnesses]]", f'name = "{OUTSIDE.name}"', f"vkeys = {json.dumps(list(OUTSIDE.vkeys()))}"]
    policy.write_text("\n".join(lines))
    verify(file, "--policy", policy)
    policy.write_text("[roots]\n'qm.moj' = 'none'")
    assert "--policy" in verify(file, "--policy", policy, code=2).stderr
    policy.write_text("[roots")
    assert "not TOML" in verify(file, "--policy", policy, code=2).stderr
    assert "--root" in verify(file, "--root", "qm.moj", code=2).stderr


def test_misbehaviour_that_was_exported(tmp_path):
    path = tmp_path / "forks.json"
    path.write_text(json.dumps({"v": 1, "type": "misbehaviour", "items": [item()]}))
    told = verify(path, *root(make_authority("qn.moj"))).stdout
    assert "qn.moj signed two roots for the 4 entries" in told
    verify(path, code=4)


def test_a_wheel_alone_verifies_with_no_network_and_no_configuration(tmp_path):
    """On a machine with nothing but the wheel: its own environment, an empty folder, no way out."""
    uv = ROOT / ".uv" / "bin" / "uv"
    wheels, there = tmp_path / "wheels", tmp_path / "there"

    def run(*words, code=0, **named):
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **named)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    run(uv, "build", "--wheel", "--out-dir", wheels, "--quiet", cwd=ROOT)
    (wheel,) = wheels.glob("*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, there / "venv")
    locked = tmp_path / "locked.txt"
    run(uv, "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "-o", locked, cwd=ROOT)
    install = (uv, "pip", "install", "--quiet", "--python", there / "venv" / "bin" / "python")
    run(*install, "-r", locked)
    run(*install, "--no-deps", wheel)
    (there / "evidence.zip").write_bytes(CASE.raw)
    nowhere = {"PATH": "", "HOME": str(there), "HTTPS_PROXY": "http://127.0.0.1:9", "PYTHONSAFEPATH": "1"}
    program = there / "venv" / "bin" / "art18"
    told = run(program, "verify", "evidence.zip", *ROOTS, cwd=there, env=nowhere).stdout
    assert "qn.moj logged relay.accepted" in told
    run(program, "verify", "evidence.zip", cwd=there, env=nowhere, code=4)
    assert sorted(path.name for path in there.iterdir()) == ["evidence.zip", "venv"]
    assert os.environ.get("PYTHONPATH") is None
