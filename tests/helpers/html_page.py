"""An HTML page taken apart: is it well formed, and what does it say."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags close in order, and gathers text, attributes and table rows."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.words, self.tags = [], [], [], []
        self.unfolded_words, self.unfolded_tags = [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if not self.folded:
            self.unfolded_tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)
            if not self.folded:
                self.unfolded_words.append(data)

    @property
    def folded(self):
        """Whether what is read now opens on demand: in a <details>, but not in the summary of an open one."""
        outside = self.open.count("details") - (bool(self.open) and "summary" in self.open)
        return outside > 0

    @property
    def unfolded(self):
        """The text that one sees without opening anything."""
        return " ".join(" ".join(self.unfolded_words).split())

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
