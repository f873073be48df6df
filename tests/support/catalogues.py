"""The catalogues of sentences: of findings, drawn from schemas and rules; of the console, from its templates.

    make catalogues

brings schemas/locale/ up to date: new sentences come in without a translation, those that nothing says
any more go, and what was translated is compiled. The English catalogue says of each sentence itself.
"""

import importlib
import itertools
import pkgutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import extract_from_ast

import gateway.core.findings as package
import schemas
from gateway.core.findings import annotations
from gateway.core.findings.finding import Defect
from gateway.web.console import words
from gateway.web.console.frame import environment
from schemas.catalogues import CONSOLE, DEFAULT, DOMAIN, LANGUAGES

FOLDER = Path(schemas.__file__).parent / "locale"
SINCE = datetime(2026, 11, 28, tzinfo=UTC)  # written into every catalogue, so that only texts change it


def defects() -> Iterator[Defect]:
    """Yield whatever can be found: what schemas say, and what stands in the modules of the rules."""
    yield from annotations.defects()
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(found.name)).values():
            values = value.values() if isinstance(value, Mapping) else (value,)
            yield from (one for one in values if isinstance(one, Defect))


def sentences() -> dict[str, list[str]]:
    """Return every sentence, with the articles by which it is said."""
    found: dict[str, set[str]] = {}
    for defect in defects():
        found.setdefault(defect.text, set()).add(defect.article)
    return {text: sorted(articles) for text, articles in sorted(found.items())}


def console_sentences() -> dict[str, list[str]]:
    """Return what the console says, with the templates that say it."""
    found: dict[str, set[str]] = {sentence: set() for sentence in words.SENTENCES}
    made = environment()
    assert made.loader is not None
    for name in made.list_templates():
        source = made.loader.get_source(made, name)[0]
        for _, _, sentence in extract_from_ast(made.parse(source), gettext_functions=("_",)):
            if isinstance(sentence, str):
                found.setdefault(sentence, set()).add(name)
            elif isinstance(sentence, tuple) and isinstance(sentence[0], str):
                found.setdefault(sentence[0], set()).add(name)
    return {text: sorted(names) for text, names in sorted(found.items())}


SENTENCES = {DOMAIN: sentences, CONSOLE: console_sentences}
"""Every catalogue, and what stands in it."""


def place(language: str, ending: str, domain: str = DOMAIN) -> Path:
    return FOLDER / language / "LC_MESSAGES" / f"{domain}.{ending}"


def kept(language: str, domain: str = DOMAIN) -> Catalog:
    """Return the catalogue as it lies there, or an empty one."""
    path = place(language, "po", domain)
    if not path.exists():
        return Catalog(language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def updated(language: str, domain: str = DOMAIN) -> Catalog:
    """Return the catalogue with every sentence of now."""
    before = kept(language, domain)
    found = Catalog(
        language,
        domain=domain,
        header_comment=f"# Sentences of {domain}. Brought up to date by: make catalogues",
        project="article18-gateway",
        version="1",
        msgid_bugs_address="",
        last_translator="",
        language_team="",
        creation_date=SINCE,
        revision_date=SINCE,
        fuzzy=False,
    )
    for text, articles in SENTENCES[domain]().items():
        known = before.get(text)
        translated = text if language == DEFAULT else (known.string if known else "")
        found.add(text, translated, auto_comments=[", ".join(articles)])
    return found


def main() -> None:
    for language, domain in itertools.product(LANGUAGES, SENTENCES):
        catalogue = updated(language, domain)
        place(language, "po", domain).parent.mkdir(parents=True, exist_ok=True)
        with place(language, "po", domain).open("wb") as file:
            write_po(file, catalogue, width=0)
        with place(language, "mo", domain).open("wb") as file:
            write_mo(file, catalogue)


if __name__ == "__main__":
    main()
