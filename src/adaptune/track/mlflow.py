"""MLflow, on a tracking server or in a database file."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from adaptune.core.errors import MissingExtra
from adaptune.core.lazy import mlflow, mlflow_entities
from adaptune.core.tracker import Ending, Log, Tracked, Tracker, flat

FLUSH_AFTER = 2.0
"""Seconds between two batches."""
MOST_PARAMETERS, MOST_METRICS, LONGEST = 100, 1000, 500
"""Of one batch, and letters of a parameter, as its servers take them."""
ENDINGS: Mapping[Ending, str] = {
    "finished": "FINISHED",
    "paused": "SCHEDULED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


class Mlflow(Tracker):
    """A run of an experiment in MLflow."""

    extra: ClassVar[str] = "mlflow"
    experiment: str = "adaptune"
    """What its runs are listed under; it is made where there is none."""
    uri: str | None = None
    """`http://SERVER:5000`, or `sqlite:///mlflow.db`; none: as `mlflow` itself and MLFLOW_TRACKING_URI say."""

    def open(self, tracked: Tracked) -> Log:
        """A run that goes on is the same one there, by its id."""
        try:
            client = mlflow.MlflowClient(tracking_uri=self.uri)
        except ImportError:
            raise MissingExtra("mlflow", self.extra, "track: mlflow") from None
        if tracked.known is not None:
            client.update_run(tracked.known, status="RUNNING")
            return _Batches(client, tracked.known)
        experiment = client.get_experiment_by_name(self.experiment)
        where = experiment.experiment_id if experiment else client.create_experiment(self.experiment)
        tags = {} if tracked.group is None else {"group": tracked.group}
        run = client.create_run(where, run_name=tracked.name, tags=tags)
        parameters = [
            mlflow_entities.Param(_named(name), str(value)[:LONGEST]) for name, value in flat(tracked.settings).items()
        ]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            client.log_batch(run.info.run_id, params=parameters[start : start + MOST_PARAMETERS])
        return _Batches(client, run.info.run_id)


class _Batches(Log):
    """Metrics are sent in batches: each is a request, or a write to disk."""

    def __init__(self, client: Any, key: str) -> None:
        self.client, self.key = client, key
        self.waiting: list[Any] = []
        self.sent = time.monotonic()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.waiting += [mlflow_entities.Metric(_named(name), value, now, step) for name, value in values.items()]
        if time.monotonic() - self.sent >= FLUSH_AFTER or len(self.waiting) >= MOST_METRICS // 2:
            self._send()

    def end(self, how: Ending) -> None:
        self._send()
        self.client.set_terminated(self.key, status=ENDINGS[how])

    def _send(self) -> None:
        waiting: Sequence[Any] = self.waiting
        for start in range(0, len(waiting), MOST_METRICS):
            self.client.log_batch(self.key, metrics=waiting[start : start + MOST_METRICS])
        self.waiting, self.sent = [], time.monotonic()


def _named(name: str) -> str:
    """Its servers take letters, digits and these signs: `recall@10` is `recall_10`."""
    return re.sub(r"[^\w\-. /:]", "_", name)
