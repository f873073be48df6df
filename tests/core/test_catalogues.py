"""Every sentence of a finding exists in the six languages, and what is compiled is what was written."""

import re
from string import Formatter

import pytest
from babel.messages.mofile import read_mo

import schemas
from gateway.core.findings import annotations, channels, languages
from gateway.core.findings.finding import Defect, in_language
from schemas.catalogues import DEFAULT, LANGUAGES, worded
from tests.support.catalogues import defects, kept, place, sentences

SCRIPTS = {"ar": r"[\u0600-\u06ff]", "ru": r"[\u0400-\u04ff]", "zh": r"[\u4e00-\u9fff]"}
AGAIN = "make catalogues, then translate what is new in schemas/locale/*/LC_MESSAGES/findings.po"


def parameters(sentence):
    return sorted(name for _, name, _, _ in Formatter().parse(sentence) if name is not None)


def written(language):
    return {message.id: message.string for message in kept(language) if message.id}


def test_the_sentences_are_those_of_schemas_and_rules():
    found = sentences()
    assert "18(15)(f)" in found["The purpose of the request is not given."], "of a schema"
    assert found[languages.NOT_ACCEPTED.text] == ["18(14)"], "of a rule"
    assert set(found[channels.NOT_TAKEN["mla"].text]) >= {"16", "17", "18(13)", "21"}, "of a table"
    texts = {note["text"] for name in schemas.schema_names() for note in notes(schemas.load(name))}
    assert texts <= set(found), "what no kind of message can find"


def notes(schema):
    """Yield every annotation that has a sentence, wherever it stands in *schema*."""
    if isinstance(schema, list):
        for item in schema:
            yield from notes(item)
    if isinstance(schema, dict):
        yield from schema.get("x-demanded", ())
        yield from (schema[name] for name in ("x-distinct", "x-attachment") if name in schema)
        for value in schema.values():
            yield from notes(value)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated(language):
    catalogue = written(language)
    assert set(catalogue) == set(sentences()), AGAIN
    for sentence, translated in catalogue.items():
        assert translated.strip(), f"{sentence!r}: {AGAIN}"
        assert parameters(translated) == parameters(sentence), sentence
        assert (translated == sentence) is (language == DEFAULT), sentence
        assert re.search(SCRIPTS.get(language, "[a-z]"), translated), sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_was_written(language):
    with place(language, "mo").open("rb") as file:
        compiled = {message.id: message.string for message in read_mo(file) if message.id}
    assert compiled == written(language), AGAIN
    for sentence, translated in compiled.items():
        assert worded(sentence, {}, language) == translated


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_sentences_stay_two(language):
    catalogue = written(language)
    assert len(set(catalogue.values())) == len(catalogue)


@pytest.mark.parametrize("language", LANGUAGES)
def test_parameters_are_filled_in(language):
    found = in_language([languages.NOT_ACCEPTED.at("language", languages="es, en").document()], language)
    assert found[0]["text"].count("es, en") == 1
    assert "{" not in found[0]["text"]


def test_a_sentence_of_another_version_stays_as_it_is():
    document = Defect("18(1)", "error", "Nobody says this any more.").at("body").document()
    assert in_language([document], "fr") == [document]


def test_every_sentence_of_a_schema_is_without_parameters():
    assert not any(parameters(defect.text) for defect in annotations.defects())


def test_a_sentence_has_the_form_of_one():
    for defect in defects():
        assert re.fullmatch(r"[A-Z].*\.", defect.text), defect.text
