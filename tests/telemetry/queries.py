"""What a PromQL expression asks for: names of metrics, and the labels that it expects them to have.

No parser: strings and what stands in braces and after `by` are taken apart, and every other name that is no function,
no keyword and no number is a metric. promtool checks the grammar where it is at hand.
"""

import re
from collections.abc import Iterator

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w.$])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
_KEYWORDS = frozenset({"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"})
_RANGE = re.compile(r"\[[^\]]*\]")


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that is asked for, with the labels that it is asked for by."""
    bare = _RANGE.sub("", _STRING.sub("''", expression))
    for name, matchers in _SELECTOR.findall(bare):
        yield name, {re.split(r"[=!]", matcher)[0].strip() for matcher in matchers.split(",") if matcher.strip()}
    rest = _GROUPING.sub("", _SELECTOR.sub("", bare))
    for name in _NAME.findall(rest):
        if name not in _KEYWORDS:
            yield name, set()


def grouped_by(expression: str) -> set[str]:
    """The labels that results are put together by."""
    bare = _STRING.sub("''", expression)
    return {label.strip() for _, labels in _GROUPING.findall(bare) for label in labels.split(",") if label.strip()}
