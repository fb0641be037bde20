"""Repository of what a passing answer of PhotoGPT's is held against: the active trainings of one tenant."""

from __future__ import annotations

from sqlmodel import col, select

from service.domain.training import Status
from service.storage.due_training import DueTraining, due_training
from service.storage.sweeps import MOST_OF_ONE_SWEEP
from service.storage.tables import Training
from service.storage.trainings import Trainings, active_of
from service.storage.transaction import Repository, Transaction


class Sightings(Repository):
    def __init__(self, transaction: Transaction, trainings: Trainings) -> None:
        super().__init__(transaction)
        self._trainings = trainings

    def of_model(self, tenant_id: str, model_id: str, *, hold: bool = False) -> DueTraining | None:
        """The active training of a model, if there is one; `hold`: until the end of this transaction."""
        row = self._trainings.active(tenant_id, model_id, hold=hold)
        return None if row is None else due_training(row, None)

    def in_training(self, tenant_id: str) -> list[DueTraining]:
        """What is polled of this tenant, those first that are polled next."""
        query = (
            select(Training)
            .where(*active_of(tenant_id), Training.status == Status.TRAINING, col(Training.due_at).is_not(None))
            .order_by(col(Training.due_at))
            .limit(MOST_OF_ONE_SWEEP)
        )
        return [due_training(row, None) for row in self._session.exec(query)]

    def any_suspended(self, tenant_id: str) -> bool:
        query = select(Training.id).where(*active_of(tenant_id), col(Training.suspended))
        return self._session.exec(query.limit(1)).first() is not None
