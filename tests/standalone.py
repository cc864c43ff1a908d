"""What an HTML page refers to and says, read by the standard library's own parser."""

from html.parser import HTMLParser

_LINKS = {"src", "href", "srcset", "data", "action", "poster", "background"}


class Page(HTMLParser):
    """Its tags, its text, and everything that a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in _LINKS]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "style" and not self.style:
            self.style = data
        else:
            self.text += f"{data}\n"

    @property
    def fetches(self) -> list[str]:
        """What is not in the page itself."""
        outside = [link for link in self.references if not link.startswith("data:")]
        return outside + [word for word in ("url(", "@import") if word in self.style]
