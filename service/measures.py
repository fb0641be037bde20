"""The settings as the parts want them: durations and limits, as values."""

from __future__ import annotations

from datetime import timedelta

from service.domain.training import QueueRules, Rules
from service.settings import Settings
from service.tenancy import Limits


def limits_of(settings: Settings) -> Limits:
    return Limits(
        trainings=settings.tenant_trainings,
        endpoints=settings.tenant_endpoints,
        requests_per_second=settings.tenant_requests_per_second,
        deliveries=settings.tenant_deliveries,
    )


def rules_of(settings: Settings) -> Rules:
    return Rules(
        poll_interval=timedelta(seconds=settings.poll_interval),
        lease=timedelta(seconds=settings.lease),
        overdue_after=timedelta(seconds=settings.overdue_after),
        expire_after=timedelta(seconds=settings.expire_after),
        queue=QueueRules(
            pause=timedelta(seconds=settings.queue_pause), expire_after=timedelta(seconds=settings.queue_expire_after)
        ),
    )
