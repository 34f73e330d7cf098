"""One block of Markdown as text with escape sequences, for a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TableElement
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from headrace.cli.chat.blocks import Kind
from headrace.cli.untrusted import stripped

CODE_THEME = "ansi_dark"
"""Colours of the terminal's own palette, on its own background."""

# Rich's own styles have black behind code, and blue on black.
_STYLES = Theme(
    {
        "markdown.code": "cyan",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold dim",
        "markdown.block_quote": "italic",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
    }
)

# Rich fills lines up to the width of the terminal; that would be copied along, and wrap when the window shrinks.
_PADDING = re.compile(r"(?: |\x1b\[0m)+$", re.MULTILINE)
_FENCE = re.compile(r"(?P<open>[ \t]*(?:`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n)(?P<code>.*)", re.DOTALL)
_LAST_LINE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[ \t]*\n?$")


def render(source: str, kind: Kind, width: int) -> str:
    """Return a finished block as lines for a terminal, without blank lines around it; empty when there is nothing to see.

    Args:
        source: The block, without control characters.
        kind: What it is.
        width: Columns of the terminal.
    """
    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False, theme=_STYLES)
    with console.capture() as capture:
        if kind is Kind.FENCE:
            console.print(_fence(source), soft_wrap=True)
        else:
            console.print(_Markdown(source))
    lines = _PADDING.sub(_without_spaces, capture.get()).split("\n")
    return "\n".join(_without_blank_ends(lines))


def _fence(source: str) -> Text:
    """Return code in colours between its dim fences: as it came, so that it can be copied."""
    found = _FENCE.fullmatch(source)
    if found is None:
        return Text(source)
    code = found["code"]
    end = _LAST_LINE.search(code)
    last = "" if end is None else end[0]
    highlighted = Syntax("", found["language"] or "text", theme=CODE_THEME, background_color="default")
    text = highlighted.highlight(code.removesuffix(last))
    # Highlighting ends its text with a line feed of its own.
    text.right_crop(len(text.plain) - len(text.plain.rstrip("\n")))
    parts = [Text(found["open"].rstrip("\n"), style="dim"), text, Text(last.rstrip("\n"), style="dim")]
    return Text("\n").join(part for part in parts if part.plain)


class _Heading(Heading):
    """All headings at the left: a chat is no title page."""

    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _Code(CodeBlock):
    """Code in a list or a quote: without a frame of blank lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, background_color="default")


class _Table(TableElement):
    """A table whose long words are broken instead of cut."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for rendered in super().__rich_console__(console, options):
            if isinstance(rendered, Table):
                for column in rendered.columns:
                    column.overflow = "fold"
            yield rendered


class _Markdown(Markdown):
    """Markdown of a stranger: nothing of its source vanishes, and links show where they lead."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "table_open": _Table,
    }

    def __init__(self, source: str) -> None:
        super().__init__("", code_theme=CODE_THEME, hyperlinks=False)
        # Rich shows no HTML, no definitions and no addresses of images, and a bare address twice: without these rules they
        # are text.
        parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
        parser.disable(["html_block", "html_inline", "reference", "image", "autolink", "entity"])
        self.markup = source
        self.parsed = list(_made_fit(parser.parse(source)))


def _made_fit(tokens: Iterable[Token]) -> Iterable[Token]:
    """Take control characters out of what the parser has made: it decodes percent escapes in links."""
    for token in tokens:
        token.content = stripped(token.content)
        token.info = stripped(token.info)
        token.attrs = {
            name: stripped(value) if isinstance(value, str) else value for name, value in token.attrs.items()
        }
        if token.children is not None:
            token.children = list(_made_fit(token.children))
        yield token


def _without_spaces(found: re.Match[str]) -> str:
    return found[0].replace(" ", "")


def _without_blank_ends(lines: list[str]) -> list[str]:
    shown = [number for number, line in enumerate(lines) if re.sub(r"\x1b\[[0-9;]*m", "", line).strip()]
    return lines[shown[0] : shown[-1] + 1] if shown else []
