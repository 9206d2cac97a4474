"""The tensors of a calibration, in a bundle's weights beside those of method and head. Knows no files."""

from __future__ import annotations

from torch import Tensor

from adaptune.bundle.check import AGAIN
from adaptune.core.calibration import Calibrated, Calibration, Classes
from adaptune.core.errors import BundleError
from adaptune.models.assembly import Assembly
from adaptune.models.joint import Joint, Learner

SCOPE = "scope."
"""What the tensors' names begin with; of several tasks `scope.NAME.`"""


def scope_tensors(learner: Learner) -> dict[str, Tensor]:
    """Class means and the inverse of their covariance, of every task that has them."""
    parts: dict[str, Assembly] = learner.of if isinstance(learner, Joint) else {"": learner}
    found: dict[str, Tensor] = {}
    for name, part in parts.items():
        if part.calibrated is not None and (classes := part.calibrated.classes) is not None:
            found |= {f"{_prefix(name)}means": classes.means, f"{_prefix(name)}precision": classes.precision}
    return found


def take_calibrated(
    state: dict[str, Tensor], calibration: Calibration | None, bundle: str, task: str = ""
) -> Calibrated | None:
    """What a manifest says of one task, with its tensors, which the state then lacks. Raises BundleError."""
    if calibration is None:
        return None
    if calibration.scope is None or calibration.scope.score != "mahalanobis":
        return Calibrated(calibration)
    try:
        means, precision = (state.pop(f"{_prefix(task)}{name}") for name in ("means", "precision"))
        return Calibrated(calibration, Classes(means, precision))
    except (KeyError, RuntimeError) as error:
        raise BundleError(f"the calibration of bundle {bundle!r} lacks its tensors: {error}; {AGAIN}") from error


def _prefix(task: str) -> str:
    return f"{SCOPE}{task}." if task else SCOPE
