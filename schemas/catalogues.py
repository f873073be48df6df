"""The sentences of findings, and of the console, in the six languages of the United Nations.

An English sentence is the name of itself in the others: rows keep it, and it is worded for whoever
reads. The catalogues lie in `locale/`; docs/decisions/0002 says how they are kept.
"""

from collections.abc import Mapping
from functools import cache
from gettext import GNUTranslations
from importlib.resources import files

LANGUAGES = ("ar", "en", "es", "fr", "ru", "zh")
DEFAULT = "en"
DOMAIN = "findings"
CONSOLE = "console"
FOLDER = files("schemas") / "locale"


def worded(sentence: str, parameters: Mapping[str, str | int], language: str, domain: str = DOMAIN) -> str:
    """Return *sentence* in one of LANGUAGES, with its *parameters* filled in.

    One that the catalogue does not have, such as that of an older version, stays English.
    """
    found = _catalogue(language, domain).gettext(sentence)
    return found.format_map(parameters) if parameters else found


@cache
def _catalogue(language: str, domain: str) -> GNUTranslations:
    with (FOLDER / language / "LC_MESSAGES" / f"{domain}.mo").open("rb") as file:
        return GNUTranslations(file)
