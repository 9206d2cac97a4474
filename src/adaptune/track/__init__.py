"""Trackers: one file each. They are told what a run's folder is told, and know no task and no model."""

from adaptune.core.catalogue import Catalogue
from adaptune.core.tracker import Tracker

TRACKERS = Catalogue("adaptune.track", Tracker)  # type: ignore[type-abstract]  # the kind is only compared with
