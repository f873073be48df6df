"""In which language the command line tells findings."""

import pytest

from gateway.cli.hook import Hook
from gateway.cli.session import language_of


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_CH.UTF-8"}, "fr"),
        ({"LANG": "ru"}, "ru"),
        ({"LANG": "zh-Hans"}, "zh"),
        ({"LANG": "ar@calendar=islamic"}, "ar"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "de_AT.UTF-8"}, "en"),
        ({"LC_ALL": "es_ES.UTF-8", "LC_MESSAGES": "ru_RU", "LANG": "fr_FR"}, "es"),
        ({"LC_ALL": "", "LC_MESSAGES": "ru_RU", "LANG": "fr_FR"}, "ru"),
        ({"LC_ALL": "C", "LANG": "fr_FR"}, "en"),
        ({"ART18_LANGUAGE": "zh", "LC_ALL": "es_ES.UTF-8"}, "zh"),
        ({"ART18_LANGUAGE": "tlh", "LC_ALL": "es_ES.UTF-8"}, "en"),
    ],
)
def test_the_language_comes_from_the_environment(environment, language):
    assert language_of(environment) == language


def test_english_is_asked_for_without_any():
    assert Hook("127.0.0.1", 8480, "a").language == "en"
