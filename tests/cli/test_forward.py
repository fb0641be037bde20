"""What is forwarded is what a webhook would have been, byte for byte."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from service.cli.forward import webhook_body
from service.domain.event import EventType, event_body

_texts = st.text(st.characters(exclude_categories=["Cs"]))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner) | st.dictionaries(_texts, inner),
    max_leaves=10,
)


@given(
    st.sampled_from(EventType),
    st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # wants them naive
    st.dictionaries(_texts, _json),
)
def test_the_body_is_the_one_that_is_stored(event_type: EventType, at: datetime, data: dict[str, object]) -> None:
    stored = event_body(event_type, at, data)
    told = json.dumps({"id": "evt_1", **json.loads(stored)})

    assert webhook_body(json.loads(told)) == stored
