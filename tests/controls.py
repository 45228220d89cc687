"""What a browser would send of a form without anybody having typed in it."""

from html.parser import HTMLParser


class _Controls(HTMLParser):
    """Collects the successful controls of one form."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sent: dict[str, list[str]] = {}
        self._select: str | None = None
        self._options: list[tuple[str, bool]] = []
        self._area: str | None = None
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value if value is not None else "" for name, value in attrs}
        if tag == "select" and "disabled" not in found:
            self._select, self._options = found.get("name"), []
        elif tag == "option" and self._select is not None:
            self._options.append((found.get("value", ""), "selected" in found))
        elif tag == "textarea":
            self._area, self._words = found.get("name"), []
        elif tag == "input":
            self._input(found)

    def _input(self, found: dict[str, str]) -> None:
        kind = found.get("type", "text")
        if kind in {"submit", "button"} or "disabled" in found or not found.get("name"):
            return
        if kind in {"checkbox", "radio"} and "checked" not in found:
            return
        self.sent.setdefault(found["name"], []).append(found.get("value", "on" if kind == "checkbox" else ""))

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select is not None:
            chosen = [value for value, selected in self._options if selected] or [self._options[0][0]]
            self.sent[self._select] = chosen
            self._select = None
        elif tag == "textarea" and self._area is not None:
            # A browser drops the first line break and sends others as CR LF.
            written = "".join(self._words).removeprefix("\n").replace("\r\n", "\n").replace("\n", "\r\n")
            self.sent[self._area] = [written]
            self._area = None


def controls(html: str, *, within: str = "<main") -> dict[str, list[str]]:
    """The fields of the first form with a `seen` in it, as they would be sent unchanged."""
    body = html[html.index(within) :] if within in html else html
    forms = [part.partition("</form>")[0] for part in body.split("<form")[1:]] or [body]
    parser = _Controls()
    parser.feed("<form" + next((part for part in forms if 'name="seen"' in part), forms[0]))
    return parser.sent
