"""Where a place in a JavaScript program stands: in its code, or inside a string, template, comment or regular expression.

A scanner of quotes, no parser. It follows strings, template literals with their ``${…}``, comments, and regular
expressions as far as the character before a slash tells one from a division.

Layer: pure rules. Source: ECMAScript 2024, 12.4 comments, 12.9.4 strings, 12.9.5 regular expressions, 12.9.6 templates.
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = {'"': "a string", "'": "a string", "`": "a template literal", "/": "a regular expression"}
_COMMENTS: Final = {"//": "\n", "/*": "*/"}
_KEYWORDS: Final = frozenset(
    {
        "await",
        "case",
        "delete",
        "do",
        "else",
        "in",
        "instanceof",
        "new",
        "of",
        "return",
        "throw",
        "typeof",
        "void",
        "yield",
    }
)
_last_word = re.compile(r"[\w$]+\Z").search


class ProgramPlaces:
    """Reads a program piece by piece; `inside` says where the next piece begins."""

    def __init__(self) -> None:
        self._opened: list[str] = []  # quotes, comments and "{" that are not closed yet, outermost first
        self._fresh = False  # the last character opened what this place is inside of
        self._in_class = False  # between [ and ] of a regular expression, where a slash is no end
        self._code = ""  # the code before this place; only its end matters

    @property
    def inside(self) -> str:
        """What the next piece would stand in: ``a string``, ``a comment`` and so on; empty in code."""
        top = self._opened[-1] if self._opened else "{"
        return "" if top == "{" else _NAMES.get(top, "a comment")

    def read(self, text: str) -> None:
        """Go on over `text`."""
        at = 0
        while at < len(text):
            self._fresh = False
            at += self._step(text, at)

    def read_value(self) -> None:
        """Go on over something that is a value, such as a placeholder."""
        self._fresh = False
        self._code = ")"

    def is_only_content(self, after: str) -> bool:
        """Return whether what stands here, with `after` behind it, would be all that its quotes hold."""
        return self._fresh and self._opened[-1] in "\"'`" and after.startswith(self._opened[-1])

    def _step(self, text: str, at: int) -> int:
        """Return how many characters were taken in."""
        top = self._opened[-1] if self._opened else "{"
        match top:
            case "{":
                return self._in_code(text, at)
            case "//" | "/*":
                end = _COMMENTS[top]
                if text.startswith(end, at):
                    self._opened.pop()
                    return len(end)
                return 1
            case _:
                return self._in_quotes(top, text, at)

    def _in_code(self, text: str, at: int) -> int:
        char, two = text[at], text[at : at + 2]
        if two in _COMMENTS:
            self._opened.append(two)
            return 2
        if char in "\"'`{" or (char == "/" and self._begins_regex()):
            self._opened.append(char)
            self._fresh = True
        elif char == "}" and self._opened:
            self._opened.pop()
        self._code = (self._code + char)[-16:] if not char.isspace() else self._code.rstrip() + " "
        return 1

    def _in_quotes(self, quote: str, text: str, at: int) -> int:
        char = text[at]
        if char == "\\":
            return 2
        if quote == "`" and text.startswith("${", at):
            self._opened.append("{")
            self._code = "{"
            return 2
        if quote == "/":
            self._in_class = char == "[" or (self._in_class and char != "]")
        ended = char == quote and not self._in_class
        if ended or (char == "\n" and quote != "`"):  # only a template goes on over the end of its line
            self._opened.pop()
            self._in_class = False
            self._code = ")"
        return 1

    def _begins_regex(self) -> bool:
        """Return whether a slash here begins a regular expression: after a value it would divide."""
        code = self._code.rstrip()
        if word := _last_word(code):
            return word.group() in _KEYWORDS
        return not code.endswith((")", "]", "}"))
