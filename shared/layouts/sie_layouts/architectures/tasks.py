"""Tasks inside a checkpoint: jina-embeddings-v3 holds a low-rank change of its weights for each.

*pure.* `lora_adaptations` of its config.json names them, in the order of the tensors, and
`task_instructions` has the words before a text of each. The authors' class puts both on where a
call names a task, and neither where it names none. That class is another than the model's, and
`auto_map` says which one is meant.
"""

from collections.abc import Mapping
from typing import Final

from sie_layouts.architectures.published import ConfigJson, published_form
from sie_layouts.reader import Reader
from sie_layouts.steps import TaskLayout

__all__ = ["holds_tasks", "read_tasks"]

_KEY: Final = "lora_adaptations"
_CLASS: Final = ".XLMRobertaLoRA"
_SIDES: Final[Mapping[str, str]] = {"query": "retrieval.query", "document": "retrieval.passage"}
_PROMPTS: Final = "config_sentence_transformers.json"


def holds_tasks(config: ConfigJson) -> bool:
    """True if a config.json names tasks."""
    return bool(config.get(_KEY))


def read_tasks(reader: Reader, name: str) -> TaskLayout | None:
    """The tasks of the config `name`; None where it has none, or is refused."""
    config = reader.table(name)
    if published_form(config) != "flash_roberta" or not holds_tasks(config):
        return None
    where = f"{name}: {_KEY}"
    code = reader.take(name, config, "auto_map", dict, {})
    if not str(code.get("AutoModel")).endswith(_CLASS):
        reader.refuse(where, f"is there, and auto_map names no {_CLASS[1:]} that would read it")
    if config.get("position_embedding_type", "absolute") != "rotary":
        reader.refuse(where, "is of a model with a table of positions, which is not done here")
    if not config.get("load_trained_adapters"):
        reader.refuse(
            f"{name}: load_trained_adapters", "is not true: the tasks would be random weights"
        )
    names = reader.take(name, config, _KEY, list, [])
    words = reader.take(name, config, "task_instructions", dict, {})
    if sorted(words) != sorted(map(str, names)) or not all(
        isinstance(each, str) for each in words.values()
    ):
        reader.refuse(
            f"{name}: task_instructions", f"has the words of {sorted(words)}, and {names} are tasks"
        )
        return None
    _require_same_prompts(reader, words)
    rank, alpha = reader.count(name, config, "lora_rank"), config.get("lora_alpha", 1)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not alpha > 0:
        reader.refuse(f"{name}: lora_alpha", f"is {alpha!r}, and a number above 0 is wanted")
        return None
    reader.fact("tasks", ", ".join(map(str, names)), where)
    return TaskLayout(
        words={str(each): words[each] for each in names},
        scale=alpha / max(1, rank),
        sides={side: task for side, task in _SIDES.items() if task in words},
    )


def _require_same_prompts(reader: Reader, words: Mapping[str, str]) -> None:
    """One library reads the words there, another here."""
    table = reader.table(_PROMPTS)
    prompts = reader.take(_PROMPTS, table, "prompts", dict, {})
    for task, text in sorted(words.items()):
        if prompts.get(task, text) != text:
            reader.refuse(
                f"{_PROMPTS}: prompts.{task}",
                f"is {prompts[task]!r}, and the task's words in config.json are {text!r}",
            )
