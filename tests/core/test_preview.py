import copy

import pytest

import schemas
from gateway.core.preview import FORM, judge
from tests.support.authorities import NOW_MS


def draft(**changed):
    found = copy.deepcopy(schemas.sample(2)["steps"][0]["draft"])
    return {**found, "to": "qp.justice", **changed}


def told(found, **more):
    return {(one.severity, one.article, one.path) for one in judge(found, sender=None, now_ms=NOW_MS, **more)}


def test_a_sound_draft():
    assert told(draft()) == set()


def test_articles_are_looked_at_once_the_form_is_right():
    found = draft()
    del found["body"]["purpose"]
    assert told(found) == {("error", "18(15)(f)", "/body/purpose")}
    assert told(found | {"language": "English"}) == {("error", FORM, "/language")}


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"kind": "request.nothing"}, "/kind"),
        ({"kind": 1}, "/kind"),
        ({"to": "nobody"}, "/to"),
        ({"case": 1}, "/case"),
        ({"more": 1}, ""),
        ({"body": []}, "/body"),
        (
            {"translations": [{"language": "en", "certified": True, "body": {"more": 1}}]},
            "/translations/0/body",
        ),
        ({"attachments": [{"name": "x"}]}, "/attachments/0"),
        ({"attachments": [1]}, "/attachments/0"),
        ({"override": {"reason": ""}}, "/override/reason"),
        ({"your_ref": ""}, "/your_ref"),
    ],
)
def test_every_mistake_of_form_has_its_place(changed, path):
    found = told(draft(**changed))
    assert ("error", FORM, path) in found
    assert {article for _, article, _ in found} == {FORM}


def test_what_a_schema_cannot_say_of_members():
    assert told(draft(expires="2020-01-01T00:00:00.000Z")) == {("error", FORM, "/expires")}
    found = judge(draft(), sender="qp.justice", now_ms=NOW_MS)
    assert [one.path for one in found] == ["/to"]


def test_numbers_that_the_wire_has_no_form_for():
    found = draft()
    found["body"]["offences"][0]["max_penalty"] = {"months": 12.5}
    assert ("error", FORM, "/body/offences/0/max_penalty/months") in told(found)


def test_files_that_go_with_it_are_known():
    member = {"name": "x.pdf", "media_type": "application/pdf", "role": "other", "language": "fr"}
    attached = [{**member, "size": 1, "sha256": "0" * 64}]
    twice = told(draft(), attached=attached * 2)
    assert twice == {("error", FORM, "/attachments/1/name")}
    named = [{"language": "en", "certified": True, "attachment": "x.pdf"}]
    assert told(draft(translations=named), attached=attached) == set()
    assert told(draft(translations=named)) == {("error", FORM, "/translations/0/attachment")}


def test_a_name_that_no_file_can_have():
    named = {"name": "é" * 128, "media_type": "text/plain", "role": "other", "language": "fr"}
    attached = [{**named, "name": "a.txt"}, named]
    attached = [{**one, "size": 1, "sha256": "0" * 64} for one in attached]
    assert told(draft(), attached=attached) == {("error", FORM, "/attachments/1/name")}
