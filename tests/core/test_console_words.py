"""What the console says exists in the six languages, and what is compiled is what was written."""

import re
from string import Formatter

import pytest
from babel.messages.mofile import read_mo

from gateway.core import delivery
from gateway.core.account import Role
from gateway.web.console import words
from schemas.catalogues import CONSOLE, DEFAULT, LANGUAGES
from tests.support.catalogues import console_sentences, kept, place

SCRIPTS = {"ar": r"[\u0600-\u06ff]", "ru": r"[\u0400-\u04ff]", "zh": r"[\u4e00-\u9fff]"}
AGAIN = "make catalogues, then translate what is new in schemas/locale/*/LC_MESSAGES/console.po"


def parameters(sentence):
    return sorted(name for _, name, _, _ in Formatter().parse(sentence) if name is not None)


def written(language):
    return {message.id: message.string for message in kept(language, CONSOLE) if message.id}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated(language):
    catalogue = written(language)
    assert set(catalogue) == set(console_sentences()), AGAIN
    for sentence, translated in catalogue.items():
        assert translated.strip(), f"{sentence!r}: {AGAIN}"
        assert parameters(translated) == parameters(sentence), sentence
        assert (translated == sentence) is (language == DEFAULT), sentence
        assert re.search(SCRIPTS.get(language, "[A-Za-zÀ-ÿ]"), translated), sentence
    with place(language, "mo", CONSOLE).open("rb") as file:
        assert {message.id: message.string for message in read_mo(file) if message.id} == catalogue, AGAIN


def test_templates_and_tables_are_both_read():
    found = console_sentences()
    assert found["Skip to the content"] == ["base.html"]
    assert set(words.SENTENCES) <= set(found)


def test_every_state_of_a_message_has_a_word():
    assert set(words.STATES) == {*delivery.State, "available"}


def test_every_role_has_a_word():
    assert set(words.ROLES) == set(Role)
