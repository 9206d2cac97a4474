"""Methods: one file each. They change a trunk and know neither tasks nor heads."""

from adaptune.core.catalogue import Catalogue
from adaptune.core.method import Method

METHODS = Catalogue("adaptune.methods", Method)  # type: ignore[type-abstract]  # the kind is only compared with
