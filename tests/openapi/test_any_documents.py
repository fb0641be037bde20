"""What holds for the changes between any two documents. A schema is judged by the values that it lets through."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.openapi.changes import changes
from tests.openapi.fragments import Document, Schema, answering, asking, closed, opened, query, sending, with_parameters

# A machine that is busy with something else is no defect: no example has a deadline of its own.
PATIENTLY = settings(deadline=None, max_examples=200)

LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"maxLength": st.integers(0, 3)}),
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 3)}),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"maximum": st.integers(-2, 2)}),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"minimum": st.integers(-2, 2)}),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["a", "b", "abc", None]), min_size=1, unique=True)}),
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, {}]),
)


# Pairs of a schema before and after, alike enough that the one may well be a part of the other.
Pair = tuple[Schema, Schema]


def nested(inner: st.SearchStrategy[Pair], *, further: bool) -> st.SearchStrategy[Pair]:
    names = st.sets(st.sampled_from(["a", "b", "c"]), max_size=2)

    def each(make: Callable[[list[Schema]], Schema], pairs: list[Pair]) -> Pair:
        return make([pair[0] for pair in pairs]), make([pair[1] for pair in pairs])

    def objects(properties: dict[str, Pair], *sides: tuple[set[str], set[str]]) -> Pair:
        before, after = (
            {
                "type": "object",
                "properties": {name: pair[side] for name, pair in properties.items() if name not in missing},
                "required": sorted(required & (properties.keys() - missing)),
                "additionalProperties": further,
            }
            for side, (missing, required) in enumerate(sides)
        )
        return before, after

    return st.one_of(
        st.builds(lambda pair: each(lambda schemas: {"type": "array", "items": schemas[0]}, [pair]), inner),
        st.builds(
            lambda pairs: each(lambda schemas: {"anyOf": schemas}, pairs), st.lists(inner, min_size=1, max_size=3)
        ),
        st.builds(
            objects,
            st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
            st.tuples(names, names),
            st.tuples(names, names),
        ),
    )


_SAME = st.builds(lambda leaf: (leaf, leaf), LEAVES)
CLOSED = st.recursive(_SAME | st.tuples(LEAVES, LEAVES), lambda inner: nested(inner, further=False), max_leaves=5)
OPENED = st.recursive(_SAME | st.tuples(LEAVES, LEAVES), lambda inner: nested(inner, further=True), max_leaves=5)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["", "a", "b", "abc", "abcd", None, True, -3, -1, 0, 1, 2, 3, 0.5, -1.5, 2.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=4,
)


def breaks(before: Document, after: Document) -> bool:
    return any(change.breaking for change in changes(before, after))


def accepts(schema: Schema, value: Any) -> bool:
    return bool(Draft202012Validator(schema).is_valid(value))


@PATIENTLY
@given(CLOSED, OPENED)
def test_nothing_changed_between_a_document_and_itself(closed_pair: Pair, opened_pair: Pair) -> None:
    for one, other in zip(closed_pair, opened_pair, strict=True):
        for whole in (asking(one), answering(other), sending(other), with_parameters(query("q", one))):
            assert changes(whole, deepcopy(whole)) == []


@PATIENTLY
@given(CLOSED, st.lists(VALUES, min_size=1, max_size=20))
def test_whatever_was_accepted_still_is_unless_the_request_broke(pair: Pair, values: list[Any]) -> None:
    before, after = pair
    if not breaks(asking(before), asking(after)):
        assert [value for value in values if accepts(before, value) and not accepts(after, value)] == []


@PATIENTLY
@given(OPENED, st.lists(VALUES, min_size=1, max_size=20))
def test_whatever_is_sent_might_have_been_before_unless_the_answer_broke(pair: Pair, values: list[Any]) -> None:
    before, after = pair
    for way in (answering, sending):
        if not breaks(way(before), way(after)):
            assert [value for value in values if accepts(after, value) and not accepts(before, value)] == []


@PATIENTLY
@given(CLOSED)
def test_each_change_is_seen_from_both_sides(pair: Pair) -> None:
    before, after = pair
    for way in (asking, answering, sending):
        there, back = changes(way(before), way(after)), changes(way(after), way(before))
        assert sorted(change.where for change in there) == sorted(change.where for change in back)


@PATIENTLY
@given(OPENED)
def test_an_optional_property_in_an_answer_and_an_optional_parameter_break_nobody(pair: Pair) -> None:
    kept, new = pair
    assert not breaks(answering(opened(("a",), a=kept)), answering(opened(("a",), a=kept, b=new)))
    assert not breaks(with_parameters(query("a", kept)), with_parameters(query("a", kept), query("b", new)))


@PATIENTLY
@given(CLOSED)
def test_what_was_removed_is_an_addition_seen_from_the_other_side(pair: Pair) -> None:
    kept, dropped = pair
    full, rest = asking(closed(a=kept, b=dropped)), asking(closed(a=kept))
    place = "POST /v1/things > request body > b"
    assert [(one.where, one.what, one.breaking) for one in changes(full, rest)] == [(place, "removed", True)]
    assert [(one.where, one.breaking) for one in changes(rest, full)] == [(place, False)]
