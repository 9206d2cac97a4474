"""Heavy libraries, imported at their first use, so that reading recipes, data and `--help` never waits for them.

`from adaptune.core.lazy import torch` gives an object that stands for the library: type checkers see the library
itself, and the first attribute asked of it imports it.
"""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

# peft imports bitsandbytes wherever it is installed, which then warns of an optional kernel for some processors.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


class _Lazy(ModuleType):
    """A library that imports itself when an attribute of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import peft as peft
    import torch as torch
    import transformers as transformers

    from adaptune.core import chunked as chunked
    from adaptune.core import shell as shell
else:
    peft = _Lazy("peft")
    torch = _Lazy("torch")
    transformers = _Lazy("transformers")
    chunked = _Lazy("adaptune.core.chunked")
    shell = _Lazy("adaptune.core.shell")

# Libraries without type hints of their own.
cleanlab_filter: Any = _Lazy("cleanlab.filter")
cleanlab_multilabel: Any = _Lazy("cleanlab.multilabel_classification.filter")
datasets: Any = _Lazy("datasets")
ipython_display: Any = _Lazy("IPython.display")
matplotlib: Any = _Lazy("matplotlib")
matplotlib_figure: Any = _Lazy("matplotlib.figure")
mlflow: Any = _Lazy("mlflow")
mlflow_entities: Any = _Lazy("mlflow.entities")
optuna: Any = _Lazy("optuna")
pyarrow_parquet: Any = _Lazy("pyarrow.parquet")
rouge_scorer: Any = _Lazy("rouge_score.rouge_scorer")
sacrebleu: Any = _Lazy("sacrebleu.metrics")
scipy_optimize: Any = _Lazy("scipy.optimize")
scipy_special: Any = _Lazy("scipy.special")
scipy_stats: Any = _Lazy("scipy.stats")
seqeval: Any = _Lazy("seqeval.metrics.sequence_labeling")
sklearn_cluster: Any = _Lazy("sklearn.cluster")
sklearn_covariance: Any = _Lazy("sklearn.covariance")
sklearn_exceptions: Any = _Lazy("sklearn.exceptions")
sklearn_metrics: Any = _Lazy("sklearn.metrics")
sklearn_linear_model: Any = _Lazy("sklearn.linear_model")
sklearn_neighbors: Any = _Lazy("sklearn.neighbors")
tensorboard: Any = _Lazy("torch.utils.tensorboard")
wandb: Any = _Lazy("wandb")
sklearn_text: Any = _Lazy("sklearn.feature_extraction.text")
