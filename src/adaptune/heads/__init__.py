"""Heads: one file each. They read hidden states and know neither tasks nor methods."""

from adaptune.core.catalogue import Catalogue
from adaptune.core.head import Head

HEADS = Catalogue("adaptune.heads", Head)  # type: ignore[type-abstract]  # the kind is only compared with
