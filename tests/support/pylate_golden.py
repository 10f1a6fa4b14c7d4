"""Golden files of PyLate: small models as it saves them, and what it answers.

*main.* `python -m tests.support.pylate_golden` writes `tests/data/pylate_v1`. PyLate 1.6 wants
releases of sentence-transformers and transformers that are older than ours: it runs in an
environment of its own, over ours, which this makes beside it. The tests only read what it wrote.
"""

import importlib
import importlib.util
import json
import shutil
import string
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any, Final

__all__ = ["CASES", "FOLDER", "QUERIES", "TEXTS"]

FOLDER: Final = Path(__file__).resolve().parents[1] / "data/pylate_v1"
QUERIES: Final = ("w9 w8 w30", "w20 ?", " ".join(f"w{number}" for number in range(20, 50)))
TEXTS: Final = (
    "w7",
    " ".join(f"w{number * 7 % 50}" for number in range(40)),
    "w11 w12 , w13 . ( w14 ) !",
)
CASES: Final[dict[str, dict[str, Any]]] = {
    "as it is": {},
    "attended": {"attend_to_expansion_tokens": True, "query_length": 12, "skiplist_words": []},
    "not filled up": {"do_query_expansion": False, "document_length": 20},
}
"""The words with which a model is made, as `pylate.models.ColBERT` takes them."""
_WANTED: Final = (
    "pylate==1.6.0",
    "sentence-transformers==5.3.0",
    "transformers==5.3.0",
    "tokenizers==0.22.2",
    "huggingface-hub>=1.3,<2",
    "accelerate",
    "datasets",
    "dill",
    "fastkmeans==0.5.0",
    "multiprocess",
    "pandas",
    "pyarrow",
    "python-dateutil",
    "six",
    "ujson==5.12.0",
    "xxhash",
)
"""The packages that are other than ours, or that we have not, without what they ask for."""
_MARKS: Final = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def main() -> None:
    """Write the files, here where PyLate is, else in its environment."""
    if importlib.util.find_spec("pylate") is not None:
        _write()
        return
    home = Path(sys.prefix) / "apart/pylate"
    python = home / "bin/python"
    if not python.is_file():
        venv.create(home, with_pip=True)
        below = sysconfig.get_path("purelib")
        inside = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        (inside / "site-packages/ours.pth").write_text(below + "\n")
        pip = [str(python), "-m", "pip", "install", "-q", "--no-deps", *_WANTED]
        subprocess.run(pip, check=True)
    subprocess.run([str(python), __file__], check=True)


def _write() -> None:
    torch: Any = importlib.import_module("torch")
    models: Any = importlib.import_module("pylate.models")
    save: Any = importlib.import_module("safetensors.torch").save_file
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        plain = Path(made) / "plain"
        _plain(plain)
        for name, words in CASES.items():
            torch.manual_seed(5)
            # A random projection is made anew from the seed: the same in each case.
            model = models.ColBERT(str(plain), embedding_size=8, device="cpu", **words)
            folder = FOLDER / name.replace(" ", "_")
            model.save(str(folder / "model"), create_model_card=False)
            answers = {}
            for side, texts in (("query", QUERIES), ("document", TEXTS)):
                for place, text in enumerate(texts):
                    (own,) = model.encode([text], is_query=side == "query", convert_to_tensor=True)
                    answers[f"{side}.{place}"] = own.float().contiguous()
            save(answers, folder / "answers.safetensors")


def _plain(folder: Path) -> None:
    """A random encoder with a vocabulary of words; no weight so small that none would be missed."""
    torch: Any = importlib.import_module("torch")
    tf: Any = importlib.import_module("transformers")
    native: Any = importlib.import_module("tokenizers")
    words = [*_MARKS, *string.punctuation, "Q", "D", *(f"w{number}" for number in range(50))]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = native.Tokenizer(native.models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = native.pre_tokenizers.Sequence(
        [native.pre_tokenizers.WhitespaceSplit(), native.pre_tokenizers.Punctuation()]
    )
    tokenizer.post_processor = native.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=60,
    ).save_pretrained(folder)  # fmt: skip
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = tf.BertConfig(
        vocab_size=len(words), intermediate_size=24, max_position_embeddings=64, **sizes
    )
    torch.manual_seed(3)
    model = tf.BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    saved = folder / "config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()), indent=1))


if __name__ == "__main__":
    main()
