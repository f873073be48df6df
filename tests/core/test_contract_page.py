"""The page of the contract, schemas/openapi.html, is what the contract gives."""

import re

from docs.contract import FILE, page


def test_the_page_is_current():
    assert FILE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_links_lead_somewhere_and_nothing_is_loaded():
    text = page()
    anchors = re.findall(r' id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(anchors)
    assert not re.search(r"<(script|img|link|iframe|object|form)|\bsrc=|\bstyle=|url\(|@import", text)
