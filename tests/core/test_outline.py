import pytest

import schemas
from schemas import outline, wording
from schemas.outline import Need
from schemas.parts import Part

KINDS = sorted(schemas.KINDS)


def of(schema, name="case"):
    """Return the outline of *schema*, as if it stood in a file of its own."""
    return outline._member(name, outline._Found([Part(schema, "message")]))


def told(kind, *path):
    """Return the needs of a member of the body, in words."""
    found = dict(outline.walk(outline.draft(kind)))[("body", *path)]
    return [need.words for need in found.needs]


def prop(title, **more):
    return {"title": title, "description": f"{title}.", "type": "string", **more}


@pytest.mark.parametrize("kind", KINDS)
def test_no_member_of_any_kind_is_undocumented(kind):
    found = list(outline.walk(outline.draft(kind)))
    assert found
    for path, member in found:
        assert member.title, path
        assert member.description.endswith("."), path
        assert member.form, path
        assert member.is_object == (member.form == "object"), path


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_that_the_schema_names_is_there(kind):
    """Each body of the samples is described whole."""
    for number in schemas.samples():
        for step in schemas.sample(number)["steps"]:
            if step["draft"]["kind"] == kind:
                assert set(_paths(step["draft"])) <= _known(kind)


def test_a_draft_has_the_members_of_the_kind_that_it_becomes():
    body = schemas.sample(6)["steps"][0]["draft"]["body"]
    assert set(_paths({"body": body["draft"]})) <= _known(body["draft_kind"])


def _known(kind):
    return {path for path, _ in outline.walk(outline.draft(kind))}


def _paths(value, path=()):
    """Yield the paths in a draft; of the draft in a draft, which is another kind's body, its own alone."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name, member in item.items():
                yield (*path, name)
                if (*path, name) != ("body", "draft"):
                    yield from _paths(member, (*path, name))


# -- conditions in words


@pytest.mark.parametrize(
    ("kind", "path", "words"),
    [
        ("request.mla", ["purpose"], ["demanded by article 18(15)(f)"]),
        (
            "request.mla",
            ["facts"],
            ["demanded by article 18(15)(c) unless `type` is `service_3b` in each item of `measures`"],
        ),
        (
            "request.mla",
            ["urgency_reason"],
            ["demanded by article 18(24) if the message's `urgency` is not `normal`"],
        ),
        (
            "request.mla",
            ["dual_criminality"],
            ["expected by article 18(9) if `coercive` is `true` in an item of `measures`"],
        ),
        (
            "request.mla",
            ["persons"],
            [
                "demanded by article 18(15)(e) unless `persons_absent_reason` is given",
                "expected by article 18(15)(e) if `persons_absent_reason` is given",
            ],
        ),
        (
            "decision.refuse",
            ["consultation_ref"],
            [
                (
                    "demanded by article 18(26) if `code` is `18_21_a`, `18_21_b`, `18_21_c` or `18_21_d` "
                    "in an item of `grounds` and `consultation_omitted_reason` is not given"
                ),
            ],
        ),
        ("decision.refuse", ["grounds", "text"], ["demanded by article 18(21) if `code` is `other`"]),
        ("decision.refuse", ["reasons"], ["demanded by article 18(23) with at least 40 characters"]),
        (
            "withdrawal",
            ["measure_ids"],
            ["required if `scope` is `part`", "left out if `scope` is not `part`"],
        ),
        (
            "execution.result",
            ["measures", "explanation"],
            ["demanded by article 18(24) if `outcome` is not `done`"],
        ),
    ],
)
def test_needs_in_words(kind, path, words):
    assert told(kind, *path) == words


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        ({"required": ["a", "b"]}, "`a` and `b` are given", "`a` and `b` are not given"),
        ({"properties": {"a": {"enum": [1, 2, 3]}}}, "`a` is `1`, `2` or `3`", "`a` is not `1`, `2` or `3`"),
        (
            {"properties": {"a": {"properties": {"b": {"const": True}}}}},
            "`a.b` is `true`",
            "`a.b` is not `true`",
        ),
        ({"properties": {"a": {"minItems": 1}}}, "`a` is given", "`a` is not given"),
        (
            {"allOf": [{"required": ["a"]}, {"not": {"required": ["b"]}}]},
            "`a` is given and `b` is not given",
            "`a` is not given, or `b` is given",
        ),
        (
            {"properties": {"a": {"contains": {"properties": {"b": {"const": 1}}}}}},
            "`b` is `1` in an item of `a`",
            "`b` is not `1` in each item of `a`",
        ),
    ],
)
def test_conditions_and_their_opposites(schema, yes, no):
    assert wording.say(schema, "message") == yes
    assert wording.say(schema, "message", holds=False) == no


@pytest.mark.parametrize("schema", [{"maxProperties": 1}, {"properties": {"a": {"maximum": 3}}}, {}])
def test_what_has_no_words_is_an_error(schema):
    with pytest.raises(wording.NoWords):
        wording.say(schema, "message")


# -- composition


def test_parts_that_are_composed_are_one_object():
    found = of(
        {
            "allOf": [
                {"properties": {"a": prop("A", **{"x-demanded": [_note()]})}, "required": ["a"]},
                {"if": {"required": ["a"]}, "then": {"properties": {"b": prop("B")}, "required": ["b"]}},
            ],
            "properties": {"a": prop("Another A", enum=["x", "y"]), "c": prop("C")},
            "unevaluatedProperties": False,
        }
    )
    assert [member.name for member in found.members] == ["a", "c", "b"]
    a, _, b = found.members
    assert (a.title, a.codes) == ("A", ("x", "y"))
    assert a.needs == (Need("demanded", "18(1)"), Need("required"))
    assert b.needs == (Need("required", when="if `a` is given"),)


def _note():
    return {"article": "18(1)", "severity": "error", "text": "There is no A."}


def test_alternatives_give_their_members_too():
    found = of({"oneOf": [{"properties": {"a": prop("A")}}, {"properties": {"b": prop("B")}}]})
    assert [member.name for member in found.members] == ["a", "b"]


def test_a_choice_is_told_and_its_first_member_usual():
    members = {"a": prop("A"), "b": prop("B")}
    found = of({"properties": members, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]})
    assert found.notes == ("Exactly one of `a` or `b` is given.",)
    assert [member.usual for member in found.members] == [True, False]


def test_a_member_that_a_condition_excludes_is_told():
    found = of(
        {
            "properties": {"a": prop("A"), "b": prop("B")},
            "if": {"required": ["a"]},
            "then": {"properties": {"b": False}},
        }
    )
    assert found.members[1].needs == (Need("left out", when="if `a` is given"),)


def test_bodies_of_other_kinds_are_named_where_they_depend_on_a_code():
    kinds = ("closure", "withdrawal")
    cases = [
        {
            "if": {"required": ["of"], "properties": {"of": {"const": kind}}},
            "then": {"properties": {"draft": {"$ref": f"kinds/{kind}.json#/$defs/body"}}},
        }
        for kind in kinds
    ]
    draft = {"title": "Draft", "description": "A draft.", "type": "object"}
    members = {"of": prop("Of", enum=list(kinds)), "draft": draft}
    found = of({"properties": members, "allOf": cases}).members[1]
    assert (found.is_object, found.members) == (True, ())
    assert found.notes == ("The body of the kind that `of` names.",)


def test_a_body_that_another_always_holds_is_spelled_out():
    whole = {"$ref": "kinds/withdrawal.json#/$defs/body"}
    found = of({"allOf": [whole], "properties": {"more": prop("More")}})
    assert [member.name for member in found.members] == [
        "scope", "measure_ids", "reason", "handling", "more",
    ]  # fmt: skip


def test_a_form_that_has_no_words_is_an_error():
    with pytest.raises(wording.NoWords):
        of({"properties": {"a": {"title": "A", "description": "A.", "type": "null"}}})
