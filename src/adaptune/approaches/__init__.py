"""Approaches: one file each. They say how a task is put to the model, and know no files and no token ids."""

from adaptune.core.approach import Approach
from adaptune.core.catalogue import Catalogue

APPROACHES = Catalogue("adaptune.approaches", Approach)
