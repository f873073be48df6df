"""Writes schemas/openapi.html: the contract of the hook as a page that needs nothing but itself.

`make docs` runs it; a test compares what it would write with what is there. The node serves it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

import schemas
from schemas.contract import document

FILE = Path(schemas.__file__).with_name("openapi.html")
"""Where the page lies."""

_STYLE = Path(__file__).with_name("contract.css")
_METHODS = ("get", "head", "options", "post", "patch", "put", "delete")
_KINDS: Mapping[str, str] = {"draft": "a draft, by its kind", "message": "a message, by its kind"}
_MARKS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)]+)\)")


def page() -> str:
    """Return the whole page."""
    return _Page(yaml.load(document(), yaml.CSafeLoader)).text()


def write() -> None:
    """Write the page."""
    FILE.write_text(page(), encoding="utf-8")


class _Page:
    """The parts of the page, each as HTML."""

    def __init__(self, contract: Mapping[str, Any]) -> None:
        self._contract = contract
        self._schemas: Mapping[str, Any] = contract["components"]["schemas"]
        self._own = [name for name in self._schemas if name[0].isupper()]
        self._by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
        for path, item in contract["paths"].items():
            for method in _METHODS:
                if method in item:
                    self._by_tag.setdefault(item[method]["tags"][0], []).append((method, path, item[method]))

    def text(self) -> str:
        """Return everything."""
        info = self._contract["info"]
        parts = [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}</title>",
            f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head>",
            "<body>",
            f"<header><h1>{escape(info['title'])}</h1>",
            f'<p class="lead">{escape(info["summary"])}</p></header>',
            *self._contents(),
            "<main>",
            _prose(info["description"]),
            '<p>The same for programs: <a href="/v1/openapi.yaml"><code>GET /v1/openapi.yaml</code></a>,',
            f"OpenAPI {escape(self._contract['openapi'])}, with the schema of every kind of message.</p>",
            *(part for tag in self._contract["tags"] for part in self._tag(tag)),
            *self._common(),
            *self._forms(),
            *self._messages(),
            "</main>",
            "</body>",
            "</html>",
        ]
        return "\n".join(parts) + "\n"

    def _contents(self) -> Iterator[str]:
        yield '<nav aria-label="Contents">'
        for tag in self._contract["tags"]:
            yield f'<p><a href="#{_slug(tag["name"])}">{escape(tag["name"])}</a></p><ul>'
            for method, _, operation in self._by_tag[tag["name"]]:
                link = f'<a href="#{operation["operationId"]}">{escape(operation["summary"])}</a>'
                yield f"<li>{_method(method)}{link}</li>"
            yield "</ul>"
        yield '<p><a href="#answers">Common answers</a></p>'
        yield '<p><a href="#forms">Forms</a></p>'
        yield '<p><a href="#kinds">Kinds of message</a></p></nav>'

    def _tag(self, tag: Mapping[str, str]) -> Iterator[str]:
        yield f'<h2 id="{_slug(tag["name"])}">{escape(tag["name"])}</h2>{_prose(tag["description"])}'
        for method, path, operation in self._by_tag[tag["name"]]:
            yield from self._operation(method, path, operation)

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
        name = operation["operationId"]
        scopes = [scope for one in operation["security"] for scope in one["bearer"]]
        scope = f"scope <code>{escape(scopes[0])}</code>" if scopes else "no token"
        yield f'<section class="operation" id="{name}"><header>'
        yield f'<h3><a href="#{name}">{escape(operation["summary"])}</a></h3>'
        yield f'<span class="scope">{scope}</span>'
        yield f"<p>{_method(method)} <code>{escape(path)}</code></p></header>"
        yield _prose(operation["description"])
        if "parameters" in operation:
            yield "<h4>Parameters</h4>"
            yield _rows(self._parameter(one) for one in operation["parameters"])
        if "requestBody" in operation:
            yield "<h4>Body</h4>"
            yield _prose(operation["requestBody"].get("description", ""))
            yield from self._content(operation["requestBody"]["content"])
        yield "<h4>Answers</h4>"
        answers: Mapping[str, Mapping[str, str]] = operation["responses"]
        yield _rows(self._answer(status, one) for status, one in answers.items() if "$ref" not in one)
        names = ((status, one["$ref"].rpartition("/")[2]) for status, one in answers.items() if "$ref" in one)
        common = [f'<a href="#answer-{name}"><code>{status}</code></a>' for status, name in sorted(names)]
        yield f'<p class="soft">And the common {" ".join(common)}</p>' if common else ""
        yield "</section>"

    def _common(self) -> Iterator[str]:
        yield '<h2 id="answers">Common answers</h2><p>What many operations can answer.</p>'
        for name, found in self._contract["components"]["responses"].items():
            yield f'<section class="schema" id="answer-{name}"><h3><a href="#answer-{name}">{name}</a></h3>'
            _, body = self._answer("", found)
            yield f"{body}</section>"

    def _parameter(self, given: Mapping[str, Any]) -> tuple[str, str]:
        found = self._at(given)
        needed = "" if found.get("required") else ", optional"
        head = f"<code>{escape(found['name'])}</code><small>{found['in']}{needed}</small>"
        return head, f"{_prose(found['description'])}{self._form(found['schema'])}"

    def _answer(self, status: str, given: Mapping[str, Any]) -> tuple[str, str]:
        found = self._at(given)
        headers = [name for name in found["headers"] if name != "X-Request-ID"]
        told = f'<p class="soft">{_codes(headers)}</p>' if headers else ""
        body = "".join(self._content(found.get("content", {})))
        return f"<code>{status}</code>", f"{_prose(found['description'])}{told}{body}"

    def _content(self, content: Mapping[str, Any]) -> Iterator[str]:
        for media_type, found in content.items():
            examples = found.get("examples") or {"example": {"value": found["example"]}}
            if media_type == "application/problem+json":
                shown = "".join(self._problem(code, one) for code, one in examples.items())
                yield shown
                continue
            form = self._form(found["schema"]) if found["schema"] else ""
            yield f"<p>{form} <small><code>{escape(media_type)}</code></small></p>"
            for one in examples.values():
                example = self._at(one)
                yield _details(escape(example.get("summary", "Example")), example["value"])

    def _problem(self, code: str, given: Mapping[str, Any]) -> str:
        found = self._at(given)
        return _details(f"<code>{escape(code)}</code> {escape(found['summary'])}", found["value"])

    def _forms(self) -> Iterator[str]:
        yield '<h2 id="forms">Forms</h2><p>What requests and answers are made of.</p>'
        for name in self._own:
            found = self._schemas[name]
            yield f'<section class="schema" id="form-{name}"><h3><a href="#form-{name}">{name}</a></h3>'
            yield _prose(found.get("description", ""))
            if "properties" in found:
                yield _rows(self._members(found))
            else:
                yield f"<p>{self._form(found)}</p>"
            yield "</section>"

    def _members(self, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for name, member in found["properties"].items():
            optional = "" if name in found.get("required", ()) else "<small>optional</small>"
            yield f"<code>{escape(name)}</code>{optional}", f"{self._said(member)}{self._form(member)}"

    def _said(self, member: Mapping[str, Any]) -> str:
        """Return what is said of a member; a form that has its own place on the page speaks there."""
        elsewhere = member.get("$ref", "").rpartition("/")[2] in self._own
        return _prose(
            member.get("description") or ("" if elsewhere else self._at(member).get("description", ""))
        )

    def _messages(self) -> Iterator[str]:
        yield '<h2 id="kinds">Kinds of message</h2>'
        yield "<p>The schema of a draft of each kind is in the document: <code>draft.</code> and the kind."
        yield "<code>art18 new KIND</code> prints one to fill in.</p>"
        for phase in schemas.load("case-machine")["phases"]:
            found = [(kind, schemas.load(f"kinds/{kind}")) for kind in phase["kinds"]]
            yield f"<h4>{escape(phase['title'])}</h4>"
            yield _rows(
                (
                    f"<code>{kind}</code>",
                    f"<p>{escape(one['title'])}</p><p class='soft'>{escape(one['description'])}</p>",
                )
                for kind, one in found
            )

    def _form(self, schema: Mapping[str, Any]) -> str:
        """Return in a few words what a value looks like."""
        match schema:
            case {"$ref": target}:
                form = self._named(target.rpartition("/")[2])
            case {"anyOf": choices}:
                form = " or ".join(map(self._form, choices))
            case {"enum": values}:
                form = _codes("null" if one is None else str(one) for one in values)
            case {"const": value}:
                form = _codes([json.dumps(value)])
            case {"items": items}:
                form = f"list of {self._form(items)}"
            case {"additionalProperties": dict() as values}:
                form = f"by name: {self._form(values)}"
            case _:
                form = f'<span class="soft">{escape(" or ".join(self._words(schema)))}</span>'
        return form

    def _words(self, schema: Mapping[str, Any]) -> Iterator[str]:
        types = schema.get("type", "any")
        for one in [types] if isinstance(types, str) else types:
            limits = ""
            if one == "integer" and "minimum" in schema:
                most = f" to {schema['maximum']}" if "maximum" in schema else ""
                limits = f" from {schema['minimum']}{most}"
            default = f", by default {json.dumps(schema['default'])}" if "default" in schema else ""
            yield f"{schema.get('format', one)}{limits}{default}"

    def _named(self, name: str) -> str:
        if name in self._own:
            return f'<a href="#form-{name}">{name}</a>'
        if name in _KINDS:
            return f'<a href="#kinds">{_KINDS[name]}</a>'
        found = self._schemas[name]
        title = escape(found.get("description", name), quote=True)
        return f'<span class="soft" title="{title}">{escape(name)}</span>'

    def _at(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what *given* refers to, or itself."""
        if "$ref" not in given:
            return given
        found: Any = self._contract
        for part in given["$ref"].split("/")[1:]:
            found = found[part]
        return self._at(found)


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{head}</dt><dd>{body}</dd></div>" for head, body in pairs) + "</dl>"


def _details(summary: str, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return f"<details><summary>{summary}</summary><pre><code>{escape(text)}</code></pre></details>"


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(word)}</code>" for word in words)


def _prose(text: str) -> str:
    """Return paragraphs, with what is marked as code, strong or a link."""
    paragraphs: Sequence[str] = [part for part in text.strip().split("\n\n") if part]
    return "".join(f"<p>{_marked(part)}</p>" for part in paragraphs)


def _marked(text: str) -> str:
    parts, end = [], 0
    for mark in _MARKS.finditer(text):
        code, strong, label, target = mark.groups()
        parts.append(escape(text[end : mark.start()]))
        if code:
            parts.append(f"<code>{escape(code)}</code>")
        elif strong:
            parts.append(f"<strong>{escape(strong)}</strong>")
        else:
            parts.append(f'<a href="{escape(target, quote=True)}">{escape(label)}</a>')
        end = mark.end()
    return "".join((*parts, escape(text[end:])))


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")


if __name__ == "__main__":
    write()
