"""The regular expressions people write, as Envoy will run them: RE2, wrapped so that it must match the whole value.

Rule: a regex that passes `check` is one Envoy takes (rule F6), and it can't reach outside its own group.
Sources: RE2 syntax; Envoy `type.matcher.v3.RegexMatcher` and its runtime key `re2.max_program_size.error_level`; what
Envoy 1.40 itself takes and refuses (tests/unit/smi/test_regex.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import re2

PROGRAM_LIMIT: Final = 1000
"""The largest compiled program (RE2 instructions) that is accepted, here and by our sidecars.

Envoy's own default is 100, which a list of a dozen paths exceeds; the bootstrap document raises it to this
(`PROGRAM_LIMIT_KEY`). RE2 takes time linear in the value whatever the size; this bounds its memory. The wrapping costs
6 instructions in a path and 7 in a header.
"""

PROGRAM_LIMIT_KEY: Final = "re2.max_program_size.error_level"
"""Envoy's runtime key for it."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def path_pattern(regex: str) -> str:
    """RE2 for a whole path that begins with a match of `regex` (rule A9)."""
    return f"(?:{regex})(?s:.*)"


def header_pattern(regex: str) -> str:
    """RE2 for a whole header value in which `regex` matches somewhere (rule A10)."""
    return f"(?s:.*)(?:{regex})(?s:.*)"


def check(regex: str, pattern: Callable[[str], str] = path_pattern) -> str | None:
    """None if Envoy takes this regex in that pattern, else why not, as the rest of a sentence.

    The regex must compile on its own too: `a)|(b` compiles inside a group and then means something else.
    """
    if _CONTROL.search(regex):
        return "is no regular expression for HTTP: it holds a control character"
    if regex == "*":
        return "is no regular expression RE2 takes: write .* for everything"
    if not regex.isascii():
        return "holds a character beyond ASCII, and Envoy compares bytes: write each as \\x and two hexadecimal digits"
    try:
        for form in (regex, pattern(regex)):
            size = program_size(form)
    except ValueError as error:
        return f"is no regular expression RE2 takes: {error}"
    if size > PROGRAM_LIMIT:
        return f"is too large a regular expression for Envoy: {size} instructions, and {PROGRAM_LIMIT} are allowed"
    return None


def program_size(regex: str) -> int:
    """How many instructions RE2 makes of a regex, over bytes as in Envoy. Raises ValueError, with RE2's words."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return int(re2.compile(regex.encode(errors="surrogatepass"), options).programsize)
    except re2.error as error:
        text = error.args[0] if error.args else b""
        words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise ValueError(words.rpartition(": ")[0] or words) from None
