"""What the bodies of requests have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adaptune.serve.registered import NAME, VERSION

BundleName = Annotated[str, Field(pattern=f"^{NAME}(@{VERSION})?$", examples=["reviews", "reviews@1f0c9a3b77e2"])]
Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Asked(BaseModel):
    """A body holds what its class says, and nothing else."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, body: Any) -> Any:
        """JSON can write half of a surrogate pair, which no tokenizer and no encoding takes."""
        _check(body)
        return body


def _check(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no text") from None
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check(key)
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)
