"""The choice of a device and of the type of numbers, where nobody said.

*pure.* Of what was found (`Cuda`) to a choice with its reason, which the log and `sie status` tell.
Half precision is chosen only for families whose vectors it was measured to keep within a thousandth
(cosine distance to float64). What a profile says is done as it says.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["HALVED_FAMILIES", "Choice", "Cuda", "choose_device", "choose_dtype"]

HALVED_FAMILIES: Final = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "deberta-v2",
        "distilbert",
        "electra",
        "gemma3_text",
        "llama",
        "mistral",
        "modernbert",
        "mpnet",
        "nomic_bert",
        "qwen2",
        "qwen3",
        "roberta",
        "xlm-roberta",
    }
)
"""Families (`model_type`) that keep the bound; T5 does not: its attention is not scaled."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A name, as settings and profiles have them, and the reason for it."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Cuda:
    """The first CUDA device as torch sees it: `problem` says why it cannot be used, if so."""

    name: str = ""
    problem: str = ""


def choose_device(stated: str, cuda: Cuda) -> Choice:
    """The device of this process. `stated` is the setting: a device, or `auto`."""
    if stated != "auto":
        return Choice(stated, "the setting says so")
    if cuda.problem:
        return Choice("cpu", f"no CUDA device is used: {cuda.problem}")
    return Choice("cuda", f"torch can use {cuda.name}")


def choose_dtype(
    stated: str,
    device: str,
    *,
    multiplies_bfloat16: bool,
    family: str,
) -> Choice:
    """The type of a model's numbers. `stated` is the profile's: fp32, bf16, fp16 or `auto`.

    `multiplies_bfloat16` says that the device has instructions for it; `family` is the model's.
    """
    on_cpu = not device.startswith("cuda")
    if stated == "bf16" and on_cpu and not multiplies_bfloat16:
        # It would be emulated, thirty times slower than the float32 that it stands for.
        return Choice("fp32", "this CPU does not multiply bfloat16")
    if stated != "auto":
        return Choice(stated, "the profile says so")
    if on_cpu:
        return Choice("fp32", "auto is exact on a CPU")
    if not multiplies_bfloat16:
        return Choice("fp32", "this device does not multiply bfloat16")
    if family not in HALVED_FAMILIES:
        return Choice("fp32", f"bf16 is not known to keep the vectors of {family or 'this model'}")
    return Choice("bf16", f"bf16 keeps the vectors of {family} within a thousandth")
