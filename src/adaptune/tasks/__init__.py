"""What one labelled row means: one file a task, named as in a recipe. Knows no model and no file format."""

from adaptune.core.catalogue import Catalogue
from adaptune.core.task import Task

TASKS = Catalogue("adaptune.tasks", Task)  # type: ignore[type-abstract]  # the kind is only compared with
