"""A bundle's trunk as a folder for plain peft, onto the class of transformers that is asked for. Knows no recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adaptune.bundle.load import Bundle
from adaptune.bundle.peft_folder import Onto, check_plain, usual_onto, write_peft
from adaptune.bundle.save import check_free
from adaptune.core.errors import Unsupported
from adaptune.core.files import replacing_folder

_AUTO: dict[Onto, str] = {"base": "AutoModel", "causal-lm": "AutoModelForCausalLM"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A PEFT folder."""

    folder: Path
    auto: str
    """The class of transformers that it is loaded onto."""

    def __str__(self) -> str:
        return f"{self.folder} loads with PeftModel.from_pretrained, onto transformers.{self.auto}; without the head"


def export(bundle: Bundle, out: str | Path, *, onto: Onto | None = None) -> Exported:
    """Write the adapter alone; `onto` none: as the bundle's own files are.

    Raises Unsupported for a method that peft does not have, tokens of a head's own or a model that is no decoder,
    BundleError where the folder holds other files.
    """
    out = Path(out).absolute()
    check_free(out)
    assembly = bundle.assembly
    check_plain(assembly)
    onto = onto or usual_onto(assembly)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(out) as new:
        if not write_peft(assembly, new, onto=onto):
            raise Unsupported(
                f"peft has no method that computes what {assembly.method.name!r} does on the family "
                f"{assembly.backbone.roles.family!r}; use adaptune merge, or serve the bundle as it is"
            )
    return Exported(out, _AUTO[onto])
