"""`art18 new` and `art18 validate` where there is no node."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import schemas
from gateway.cli.program import art18

KINDS = sorted(schemas.KINDS)


def run(*words: str, language: str = "en") -> Result:
    environment = {"ART18_CONFIG": None, "ART18_LANGUAGE": language}
    return CliRunner(env=environment).invoke(art18, list(words))


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No folder with a config.toml."""
    monkeypatch.chdir(tmp_path)


def written(content: object, name: str = "draft.json") -> str:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return name


def sound() -> dict:
    return {**schemas.sample(2)["steps"][0]["draft"], "to": "qp.justice"}


# -- new


def test_a_template_in_both_forms():
    toml, as_json = run("new", "request.mla"), run("new", "request.mla", "--output", "json")
    assert (toml.exit_code, as_json.exit_code) == (0, 0)
    assert tomllib.loads(toml.stdout) == json.loads(as_json.stdout)
    assert "\n# Purpose. The purpose for which" in toml.stdout


def test_the_kinds_are_listed_by_who_sends_them():
    told = run("new")
    assert told.exit_code == 0
    heads = ["The requesting authority sends", "The requested authority sends", "Either authority sends"]
    assert [line for line in told.stdout.splitlines() if line in heads] == heads
    listed = json.loads(run("new", "--output", "json").stdout)["items"]
    assert [one["kind"] for one in listed] == KINDS
    for one in listed:
        assert one["title"] in told.stdout


@pytest.mark.parametrize(
    ("kind", "close"),
    [("request.mal", "request.mla"), ("Withdrawl", "withdrawal"), ("confirm", "closure.confirm")],
)
def test_an_unknown_kind_is_usage_with_what_may_have_been_meant(kind, close):
    told = run("new", kind)
    assert told.exit_code == 2
    meant = told.stderr.partition("Did you mean ")[2].partition("?")[0]
    assert close in meant
    assert ", ".join(KINDS) in " ".join(told.stderr.split())


def test_a_kind_like_no_other_is_usage():
    told = run("new", "xyz")
    assert told.exit_code == 2
    assert "Did you mean" not in told.stderr


# -- validate


def test_a_sound_draft():
    told = run("validate", written(sound()), "--offline")
    assert told.exit_code == 0, told.output
    assert "Checked without the node" in told.stdout
    assert "it could be" in told.stdout


def test_a_template_has_its_gaps_told_with_place_pointer_and_article():
    told = run("validate", written(run("new", "request.mla").stdout, "draft.toml"), "--offline")
    assert told.exit_code == 1
    assert "Not filled in yet" in told.stdout
    assert "  Facts › Text " in told.stdout  # noqa: RUF001 - as it is printed
    assert "/body/facts/text" in told.stdout
    assert told.stdout.count("/body/facts/text") == 1
    assert "Only the form was looked at" in told.stdout


def test_findings_come_with_errors_first():
    found = sound()
    del found["body"]["purpose"]
    del found["body"]["persons"][0]["born"]
    told = run("validate", written(found), "--offline", "--output", "json")
    assert told.exit_code == 1
    report = json.loads(told.stdout)
    assert (report["sendable"], report["checked"], report["state"]) == (False, "offline", None)
    assert [(one["severity"], one["article"], one["place"], one["path"]) for one in report["findings"]] == [
        ("error", "18(15)(f)", "Purpose", "/body/purpose"),
        ("warning", "18(15)(e)", "Persons 1 › Date of birth", "/body/persons/0/born"),  # noqa: RUF001
    ]
    text = run("validate", "draft.json", "--offline").stdout
    assert "The purpose of the request is not given. (article 18(15)(f))" in text
    assert "1 error and 1 warning. It cannot be sent as it is." in text
    spanish = run("validate", "draft.json", "--offline", language="es").stdout
    assert "No se indica la finalidad de la solicitud." in spanish


def test_warnings_alone_keep_nothing_back():
    found = sound()
    del found["body"]["persons"][0]["born"]
    told = run("validate", written(found), "--offline")
    assert told.exit_code == 0
    assert "1 warning. Nothing was sent; it could be." in told.stdout


def test_what_is_not_in_form_is_told_in_words_and_not_repeated():
    found = sound()
    found["to"] = "Secret authority"
    found["body"]["measures"][0]["type"] = "secret_type"
    found["translations"] = [{"language": "en", "certified": True, "body": {"deadline": {"date": "soon"}}}]
    told = run("validate", written(found), "--offline")
    assert told.exit_code == 1
    assert "Not in form. ISO 3166-1 code" in told.stdout
    assert "Not one of taking_evidence_3a, service_3b" in told.stdout
    assert "Translated body › Deadline › Date" in told.stdout  # noqa: RUF001
    assert "ecret" not in told.stdout


def test_an_unknown_kind_is_an_error_of_the_draft():
    told = run("validate", written({**sound(), "kind": "request.nothing"}), "--offline")
    assert told.exit_code == 1
    assert "There is no such kind." in told.stdout


def test_files_that_go_with_it_are_read():
    Path("register.pdf").write_bytes(b"%PDF")
    draft = written(
        {**sound(), "translations": [{"language": "en", "certified": True, "attachment": "register.pdf"}]}
    )
    assert run("validate", draft, "--offline").exit_code == 1
    assert run("validate", draft, "--offline", "--attach", "register.pdf:translation").exit_code == 0
    told = run("validate", draft, "--offline", "--attach", "register.pdf:novel")
    assert told.exit_code == 1
    assert "Attachments 1 › Role" in told.stdout  # noqa: RUF001
    assert run("validate", draft, "--offline", "--attach", "nothing.pdf").exit_code == 2


def test_uploads_that_the_draft_names_need_the_node():
    told = run("validate", written({**sound(), "attachments": [{"upload": "x"}]}), "--offline")
    assert told.exit_code == 2
    assert "without --offline" in told.stderr


def test_without_a_node_that_can_be_asked_the_draft_is_not_checked_by_half():
    told = run("validate", written(sound()))
    assert told.exit_code == 5
    assert "config.toml" in told.stderr


def test_a_file_that_is_no_draft_is_usage():
    assert run("validate", written("kind = ", "draft.toml")).exit_code == 2
    assert run("validate", written([1])).exit_code == 2
