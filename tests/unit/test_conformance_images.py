"""Texts and images in one space: small random models answer as their authors' library does."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers as st
import torch
from hypothesis import given, strategies
from PIL import Image
from sentence_transformers.base.modules import Normalize, Transformer
from tests.support.conformance import TEXTS
from tests.support.picture_models import (
    EDGE,
    PictureAnswerer,
    encoded,
    load_towers,
    picture,
    pictures,
    reference_vectors,
    save_clip,
    save_siglip,
    save_siglip_1,
    upright,
)
from tests.support.sameness import assert_same
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from sie_schemas import ipc
from sie_schemas.errors import OurFault
from sie_server.backends.images.padding import Padding

# A text that ends with the mark of its end is one of those that are tried.
pytestmark = pytest.mark.filterwarnings("ignore:This sequence already has")

FILES = pictures()
MAKERS: dict[str, tuple[Callable[[Path], Path], bool]] = {
    "clip": (save_clip, False),
    "clip of the older config": (lambda folder: save_clip(folder, legacy=True), False),
    "siglip": (save_siglip_1, True),
    "siglip2": (save_siglip, True),
    "siglip2 with a mask": (lambda folder: save_siglip(folder, masked=True), True),
}


@pytest.fixture(scope="module", params=MAKERS)
def compared(request, tmp_path_factory):
    """A folder's answers, and its reference's, of texts and of images."""
    make, max_length = MAKERS[request.param]
    folder = make(tmp_path_factory.mktemp("model"))
    texts, images = reference_vectors(folder, TEXTS, [*FILES.values()], max_length=max_length)
    return PictureAnswerer(load_towers(folder)), texts, images


def test_texts_are_the_reference_s_alone_and_together(compared):
    answerer, texts, _ = compared
    assert_same(answerer.vectors(TEXTS), texts)
    for text, wanted in zip(TEXTS, texts, strict=True):
        assert_same(answerer.vectors([text]), wanted)


@pytest.mark.parametrize("name", FILES)
def test_an_image_of_any_size_mode_and_format_is_the_reference_s(compared, name):
    answerer, _, images = compared
    assert_same(answerer.of_images([FILES[name]]), images[[*FILES].index(name)])


def test_images_together_and_beside_texts_are_as_each_alone(compared):
    answerer, texts, images = compared
    assert_same(answerer.of_images([*FILES.values()]), images)
    of_texts, of_images = answerer.inputs(TEXTS, "document"), answerer.images([*FILES.values()])
    mixed = [of_images[0], *of_texts, *of_images[1:]]
    assert_same(answerer.answered(mixed), np.concatenate([images[:1], texts, images[1:]]))


def test_what_is_near_in_the_reference_s_space_is_near_in_ours(compared):
    answerer, texts, images = compared
    ours = np.concatenate([answerer.vectors(TEXTS), answerer.of_images([*FILES.values()])])
    theirs = np.concatenate([texts, images])
    assert_same(_near(ours), _near(theirs))


def _near(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize(
    "options",
    [
        {"resample": 2},
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 0.9, 1.1], "image_std": [0.3, 0.2, 0.1]},
        {"size": {"height": 40, "width": 60}},
        {"size": {"shortest_edge": 45}},
        {"size": {"shortest_edge": 20}},
        {"do_center_crop": False, "size": {"height": EDGE, "width": EDGE}},
    ],
    ids=str,
)
def test_the_processor_s_file_is_read(tmp_path, options):
    folder = save_clip(tmp_path, **options)
    files = [FILES[name] for name in ("wide", "high", "small", "RGBA")]
    wanted = _of_images(folder, files)
    assert_same(PictureAnswerer(load_towers(folder)).of_images(files), wanted)


def _of_images(folder, files):
    return reference_vectors(folder, ["a cat"], files, max_length=False)[1]


def test_sentence_transformers_folders_of_clip_are_its_own(tmp_path):
    plain = save_clip(tmp_path / "plain")
    for place, modules in enumerate(([], [Normalize()])):
        folder = tmp_path / f"saved{place}"
        model = st.SentenceTransformer(modules=[Transformer(str(plain)), *modules], device="cpu")
        model.save(str(folder))
        _as_saved(folder, model)
    legacy = tmp_path / "legacy"
    model.save(str(legacy))
    modules = json.loads((legacy / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.models.CLIPModel"
    (legacy / "modules.json").write_text(json.dumps(modules))
    _as_saved(legacy, st.SentenceTransformer(str(legacy), device="cpu"))


def _as_saved(folder, model):
    answerer = PictureAnswerer(load_towers(folder))
    files = [FILES[name] for name in ("wide", "L", "turned")]
    assert_same(answerer.vectors(TEXTS), model.encode(list(TEXTS)))
    assert_same(answerer.of_images(files), model.encode([upright(file) for file in files]))


@pytest.mark.parametrize(
    "told",
    [
        {"do_convert_rgb": None, "do_rescale": None, "crop_size": 32, "size": 32},
        {"image_processor_type": None, "feature_extractor_type": "CLIPFeatureExtractor"},
        {"image_processor_type": None},
    ],
    ids=str,
)
def test_the_forms_of_older_files_are_read(tmp_path, told):
    # Of images that are not in colours the reference makes an error, where the first is null.
    folder = save_clip(tmp_path)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
    files = [FILES[name] for name in ("wide", "high", "BMP")]
    assert_same(PictureAnswerer(load_towers(folder)).of_images(files), _of_images(folder, files))


def test_a_request_says_if_vectors_have_the_length_1(tmp_path):
    for options in ({}, {"normalize": True}):
        answerer = PictureAnswerer(load_towers(save_clip(tmp_path), options=options))
        inputs = [*answerer.inputs(TEXTS[:1], "document"), *answerer.images([FILES["wide"]])]
        rows = {}
        for wanted in (True, False):
            batch = ipc.RunBatch(
                id=1,
                model_revision="r1",
                operation="encode",
                inputs=tuple(inputs),
                options={"normalize": wanted},
            )
            found = answerer.backend.run(batch)
            assert isinstance(found, ipc.DenseAnswers)
            rows[wanted] = np.frombuffer(found.values, "<f4").reshape(2, found.dim)
        lengths = np.linalg.norm(rows[False], axis=1, keepdims=True)
        assert abs(lengths - 1).min() > 1e-3
        assert_same(rows[True], rows[False] / lengths)


def test_vectors_get_the_length_1_where_the_profile_says_so(tmp_path):
    folder = save_clip(tmp_path)
    plain = PictureAnswerer(load_towers(folder))
    unit = PictureAnswerer(load_towers(folder, options={"normalize": True}))
    for found, wanted in (
        (unit.vectors(TEXTS), plain.vectors(TEXTS)),
        (unit.of_images([FILES["wide"]]), plain.of_images([FILES["wide"]])),
    ):
        assert_same(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("preprocessor_config.json", {"do_resize": False}, "do_resize is false"),
        ("preprocessor_config.json", {"do_pad": True}, "do_pad is True"),
        ("preprocessor_config.json", {"blur": 2}, "blur is 2, which is not done here"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 30}, "do_center_crop": False},
         "size makes images of 0 by 0"),
        ("preprocessor_config.json", {"crop_size": 30}, "30 by 30, and the model reads 32 by 32"),
        ("preprocessor_config.json", {"resample": "bicubic"}, "resample is 'bicubic'"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "three numbers are wanted"),
        ("preprocessor_config.json", {"image_processor_type": "ViTImageProcessor"},
         "image_processor_type is 'ViTImageProcessor'"),
        ("config.json", {"model_type": "siglip2"}, "NaFlex"),
        ("config.json", {"architectures": ["CLIPTextModel"]}, "CLIPModel alone has both towers"),
        ("config.json", {"auto_map": {"AutoModel": "m.M"}}, "auto_map is there"),
    ],
)  # fmt: skip
def test_a_folder_that_would_answer_otherwise_is_refused_with_its_key(tmp_path, file, change, said):
    folder = save_clip(tmp_path)
    told = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**told, **change}))
    with pytest.raises(OurFault, match=said):
        load_towers(folder)


def test_a_folder_without_the_processor_s_file_is_refused(tmp_path):
    folder = save_clip(tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(OurFault, match="nothing says how an image is read"):
        load_towers(folder)


def test_a_siglip_whose_texts_a_library_would_not_fill_up_is_refused(tmp_path):
    plain = save_siglip(tmp_path / "plain")
    model = st.SentenceTransformer(modules=[Transformer(str(plain))], device="cpu")
    model.save(str(tmp_path / "saved"))
    with pytest.raises(OurFault, match="its last token, which is then a batch-mate's padding"):
        load_towers(tmp_path / "saved")
    filled = {"text": {"padding": "max_length"}}
    whole = Transformer(str(plain), processing_kwargs=filled)
    whole.max_seq_length = 16
    model = st.SentenceTransformer(modules=[whole], device="cpu")
    model.save(str(tmp_path / "filled"))
    _as_saved(tmp_path / "filled", model)


def test_a_picture_survives_the_way_as_it_was(tmp_path):
    """The sidecar's pixels of a picture that needs no change are the picture's own."""
    answerer = PictureAnswerer(load_towers(save_clip(tmp_path)))
    [found] = answerer.images([encoded(picture(EDGE, EDGE))])
    assert found.data == Image.open(io.BytesIO(encoded(picture(EDGE, EDGE)))).tobytes()


@given(
    lengths=strategies.lists(strategies.integers(1, 6), min_size=1, max_size=4),
    side=strategies.sampled_from(["left", "right"]),
    token=strategies.integers(0, 9),
)
def test_texts_are_filled_up_at_the_side_and_with_the_token_of_their_tokenizer(
    lengths, side, token
):
    words = {f"w{number}": number for number in range(10)}
    library = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words)), pad_token=f"w{token}", padding_side=side
    )
    texts = [[*range(1, length + 1)] for length in lengths]
    wanted = library.pad({"input_ids": texts}, padding="max_length", max_length=7)
    for hidden in (True, False):
        padding = Padding(token, left=side == "left", hidden=hidden)
        rows, mask = padding.filled([torch.tensor(text) for text in texts], 7)
        assert rows.tolist() == wanted["input_ids"]
        assert (mask.tolist() if mask is not None else None) == (
            wanted["attention_mask"] if hidden else None
        )
