"""What the list of a key's models says of one that is watched: nothing new, or something to be confirmed.

A list is less than a reading of the model itself: it may lag behind, leave out and page (photogpt-facts 5). So it never
ends a training, and never proves one; it only says which models need not be read now.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum, auto

from service.domain.training import Observation, Rules, Status, Watch, is_under_way

# So long is a key's list left alone that could not be used, in poll intervals; and one that did not come at all, which
# is no more than the next turn: its models must be read once in a while though their list never comes.
UNUSABLE_FOR = 12
UNANSWERED_FOR = 2
# What was read itself so lately, as a part of the poll interval, is not read again to confirm what a list says.
CONFIRMED_LATELY = 0.2


class Meaning(Enum):
    KEEP = auto()
    CONFIRM = auto()


def may_be_listed(watch: Watch, now: datetime, rules: Rules) -> bool:
    """Whether a list may stand in for a reading of this model. A list that lags for ever delays nothing for ever, since
    what is overdue is always read itself.
    """
    overdue = watch.overdue or now - watch.since >= rules.overdue_after
    return watch.status is Status.TRAINING and not (overdue or watch.suspended or watch.not_found_count)


def meaning(watch: Watch, listed: Observation | None, now: datetime, rules: Rules) -> Meaning:
    """Of what stands in the list for this model, if anything does."""
    if listed is None or not may_be_listed(watch, now, rules):
        return Meaning.CONFIRM
    # A word that nobody documents is as good as `training`, once the model itself has said it.
    known = listed.status == Status.TRAINING or listed.raw_status == watch.raw_status
    return Meaning.KEEP if known and is_under_way(listed) else Meaning.CONFIRM


def names_enough(watched: int, named: int) -> bool:
    """Whether a list that names so many of those watched can be the whole one."""
    return 2 * named >= watched
