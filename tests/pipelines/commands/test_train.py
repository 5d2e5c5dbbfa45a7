"""`sensegrep train` from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from elmo_infer import load
from elmo_infer.training import bilm
from elmo_infer.training.teacher import Teacher
from pipelines.__main__ import main

TEXT = "The cat sat on the mat. The dog ran up the hill.\nRain fell.\n\nA boat came by.\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 30, encoding="utf-8")
    return path


@pytest.fixture
def train(text: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*options: str, out: str = "model", kind: str = "elmo") -> int:
        return main(["train", kind, "--input", str(text), "--out", str(tmp_path / out), *options])

    return run


def test_trained_bilm_is_a_model_that_load_reads(
    train: Callable[..., int], text: Path, tmp_path: Path
) -> None:
    assert train("--preset", "tiny", "--steps", "4", "--valid", str(text)) == 0
    model = load(str(tmp_path / "model"), device="cpu")
    assert model.layers([["The", "cat"]])[0].shape == (3, 2, 32)
    made = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"options.json", "weights.hdf5", "MODEL_CARD.md", "curve.csv", "curve.png"} <= made
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "sensegrep train elmo --input" in card or "## Recipe" in card
    assert "4 steps" in card


def test_run_is_resumed_without_its_input(train: Callable[..., int], tmp_path: Path) -> None:
    out = str(tmp_path / "model")
    assert train("--preset", "tiny", "--steps", "2") == 0
    again = ["train", "elmo", "--out", out, "--preset", "tiny", "--steps", "5", "--resume"]
    assert main(again) == 0
    assert "5 steps" in (tmp_path / "model" / "MODEL_CARD.md").read_text()


def test_model_is_fine_tuned_on_other_text(train: Callable[..., int], tmp_path: Path) -> None:
    assert train("--preset", "tiny", "--steps", "2") == 0
    tuned = ("--from", str(tmp_path / "model"), "--steps", "1", "--learning-rate", "1e-9")
    assert train(*tuned, out="tuned") == 0
    before, after = (
        load(str(tmp_path / name), device="cpu").layers([["The", "cat"]])[0]
        for name in ("model", "tuned")
    )
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_words_are_taught_first_and_their_layer_is_frozen_then(
    train: Callable[..., int],
    make_teacher: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "."])
    first = ("--preset", "tiny", "--steps", "2", "--teacher", str(teacher), "--word-epochs", "90")
    first += ("--fading-cells", "4", "--review-words", "8")
    assert train(*first) == 0
    assert "the run resumes in its sentences" not in capsys.readouterr().err
    assert train(*first, "--resume") == 0
    told = capsys.readouterr().err
    for name in ("--word-epochs", "--fading-cells"):
        assert f"{name} has an effect only at the start of a run" in told

    assert train(*first, "--freeze-token-layer", out="both") == 2
    assert "--freeze-token-layer keeps it unchanged; give one" in capsys.readouterr().err

    tuned = ("--from", str(tmp_path / "model"), "--steps", "2", "--freeze-token-layer")
    assert train(*tuned, out="tuned") == 0
    before, after = (
        load(str(tmp_path / name), device="cpu").layers([["The", "cat"]])[0]
        for name in ("model", "tuned")
    )
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-4


def test_grown_model_gets_fading_cells(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--preset", "tiny", "--steps", "1") == 0
    model = str(tmp_path / "model")
    tuned = ("--from", model, "--cells", "72", "--projection", "20", "--fading-cells", "4")
    assert train(*tuned, "--steps", "1", "--learning-rate", "1e-9", out="tuned") == 0
    sentences = [["The", "cat"], ["A", "cat"]]
    before = np.stack(load(model, device="cpu").layers(sentences))
    after = np.stack(load(str(tmp_path / "tuned"), device="cpu").layers(sentences))
    np.testing.assert_allclose(after[..., :16], before[..., :16], atol=1e-5)
    cat = after[:, :, 1]
    # The first layer's sum, and the second's, which passes it on, know what stood before.
    assert np.abs(cat[0, 1:, 16:20] - cat[1, 1:, 16:20]).min() > 1e-4
    np.testing.assert_allclose(cat[:, 1, 16:20], cat[:, 2, 16:20], atol=1e-5)

    capsys.readouterr()
    resumed = ("--preset", "tiny", *tuned[2:], "--steps", "1", "--resume")
    assert train(*resumed, out="tuned") == 0
    assert (
        "the run resumes in its sentences: --fading-cells has an effect only at the start"
        in capsys.readouterr().err
    )


def test_bundled_model_is_fine_tuned_by_its_name(train: Callable[..., int], tmp_path: Path) -> None:
    assert train("--from", "en-small", "--steps", "1", "--learning-rate", "1e-9") == 0
    before, after = (
        load(name, device="cpu").layers([["The", "bank"]])[0]
        for name in ("en-small", str(tmp_path / "model"))
    )
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_size_is_a_preset_with_other_numbers(train: Callable[..., int], tmp_path: Path) -> None:
    sizes = ("--cells", "24", "--projection", "12", "--layers", "1", "--highways", "2")
    assert train("--preset", "tiny", *sizes, "--filters", "1x4", "3x9", "--steps", "1") == 0
    options = json.loads((tmp_path / "model" / "options.json").read_text())
    assert options["char_cnn"]["filters"] == [[1, 4], [3, 9]]
    assert options["char_cnn"]["n_highway"] == 2
    assert load(str(tmp_path / "model"), device="cpu").layers([["A", "cat"]])[0].shape == (2, 2, 24)


def test_model_is_grown_before_it_is_fine_tuned(train: Callable[..., int], tmp_path: Path) -> None:
    assert train("--preset", "tiny", "--steps", "2") == 0
    start = ("--from", str(tmp_path / "model"), "--learning-rate", "1e-9")
    assert train(*start, "--cells", "80", "--highways", "2", "--steps", "1", out="grown") == 0
    options = json.loads((tmp_path / "grown" / "options.json").read_text())
    assert (options["lstm"]["dim"], options["char_cnn"]["n_highway"]) == (80, 2)
    before, after = (
        load(str(tmp_path / name), device="cpu").layers([["The", "cat"]])[0]
        for name in ("model", "grown")
    )
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_model_does_not_shrink(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--preset", "compact", "--steps", "1") == 0
    start = ("--from", str(tmp_path / "model"), "--steps", "1")
    assert train(*start, "--preset", "tiny", out="tuned") == 2
    assert "expected the same widths in the same order" in capsys.readouterr().err
    for smaller in (("--cells", "511"), ("--projection", "127")):
        assert train(*start, *smaller, out="tuned") == 2
        assert "expected at least as many" in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


def test_directory_of_another_run_is_refused(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--preset", "tiny", "--steps", "1") == 0
    assert train("--preset", "tiny", "--steps", "1") == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--preset", "vast", "--steps", "1"), "unknown preset 'vast'"),
        (("--preset", "tiny"), "exactly one of minutes, epochs and steps"),
        (("--steps", "1", "--from", "nowhere"), "nor a bundled model; bundled are: en-small"),
        (("--steps", "1", "--from", "./nowhere"), "options.json is missing"),
        (("--steps", "1", "--cells", "0"), "--cells is 0; expected at least 1"),
        (("--steps", "1", "--filters", "60x8"), "filter [60, 8] is impossible"),
        (("--steps", "1", "--teacher", "nowhere"), "nowhere is not a teacher"),
        (("--steps", "1", "--teacher-share", "2"), "--teacher-share is 2.0; expected above 0"),
        (("--steps", "1", "--teacher-weight", "0"), "--teacher-weight is 0.0; expected more"),
        (("--steps", "1", "--word-epochs", "3"), "--word-epochs needs a teacher; give --teacher"),
        (("--steps", "1", "--review-words", "3"), "--review-words needs a teacher; give --teacher"),
        (("--steps", "1", "--review-words", "-3"), "--review-words is -3; expected 0 or more"),
        (("--steps", "1", "--freeze-token-layer"), "freeze a token layer that is not trained"),
        (("--steps", "1", "--fading-cells", "-1"), "--fading-cells is -1; expected 0 or more"),
        (("--steps", "1", "--fading-cells", "8"), "but these are not trained; give --from"),
        (("--steps", "1", "--from", "en-small", "--fading-cells", "8"), "0 new cells and 0 new"),
        (("--steps", "1", "--layer-weights", "1", "2"), "2 numbers for 3 layers"),
        (("--steps", "1", "--fold-case"), "--fold-case needs a teacher; give --teacher NAME"),
        (("--steps", "1", "--teacher-loss", "near=1"), "unknown loss 'near'; expected NAME="),
        (("--steps", "1", "--teacher-sentence", "-1"), "--teacher-sentence is -1.0; expected 0"),
        (("--steps", "1", "--processes", "-1"), "processes is -1; expected 0 or more"),
        (("--steps", "1", "--shares", "1", "2"), "--shares has 2 numbers for 1 input files"),
    ],
)
def test_bad_usage_exits_2_and_says_why(
    train: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    assert train(*options) == 2
    assert words in capsys.readouterr().err


def test_filter_that_is_none_is_bad_usage(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train("--steps", "1", "--filters", "3:64")
    assert stopped.value.code == 2
    assert "'3:64' is not a filter; expected WIDTHxCOUNT, such as 3x64" in capsys.readouterr().err


def test_input_may_be_left_out_only_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "elmo", "--out", str(tmp_path / "out"), "--steps", "1"]) == 2
    assert "--input is missing: give the training text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "written"), [("cbow", "vectors.bin"), ("skip-gram", "vectors.bin"), ("nnlm", "model")]
)
def test_trained_word_vectors_are_read_back(
    train: Callable[..., int], tmp_path: Path, kind: str, written: str
) -> None:
    assert train("--dim", "8", "--epochs", "1", "--min-count", "1", out=kind, kind=kind) == 0
    model = load(str(tmp_path / kind / written), device="cpu")
    one, two = model.layers([["The", "cat", "sat"], ["A", "cat"]])
    assert model.dim == 8
    np.testing.assert_array_equal(one[:, 1], two[:, 1])  # static: no context changes it
    assert {path.name for path in (tmp_path / kind).iterdir()} == {written}


@pytest.mark.parametrize(
    ("kind", "options", "status", "words"),
    [
        ("cbow", ("--dim", "0"), 2, "--dim is 0; expected at least 1"),
        ("nnlm", ("--min-count", "0"), 2, "--min-count is 0; expected at least 1"),
        ("nnlm", ("--max-tokens", "0"), 2, "--max-tokens is 0; expected at least 1"),
        ("cbow", ("--lowercase-share", "2"), 2, "--lowercase-share is 2.0; expected from 0 to 1"),
        ("cbow", ("--shares", "0"), 2, "--shares has 0.0; expected numbers above 0"),
        ("skip-gram", ("--min-count", "999"), 1, "no word occurs min_count=999 times"),
    ],
)
def test_a_baseline_that_cannot_be_trained_leaves_nothing(
    train: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    options: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    assert train(*options, kind=kind) == status
    assert words in capsys.readouterr().err
    assert not any((tmp_path / "model").glob("*"))


def test_a_baseline_is_not_told_to_resume(
    train: Callable[..., int], text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vectors.bin").touch()
    assert train(kind="cbow") == 1
    told = capsys.readouterr().err
    assert "is not empty (found vectors.bin); give a new directory\n" in told
    assert train(kind="cbow", out=text.name) == 2
    assert "is a file; expected a directory" in capsys.readouterr().err


def test_device_that_is_not_there_is_bad_usage(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--steps", "1", "--device", "cuda:99") == 2
    assert "device 'cuda:99' was not found" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_options_of_a_teacher_reach_it(
    train: Callable[..., int],
    make_teacher: Callable[..., Path],
    text: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    teacher = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "."])
    asked = ("--preset", "tiny", "--steps", "2", "--teacher", str(teacher), "--valid", str(text))
    asked += ("--teacher-layers", "1", "--teacher-sentence", "0.5", "--teacher-share", "0.9")
    asked += ("--teacher-loss", "nearest=3", "punctuation=0", "--fold-case")
    asked += ("--lowercase-each-pass", "--lowercase-share", "0.5")
    assert train(*asked) == 0
    assert "the teacher's losses on held-out text: words " in capsys.readouterr().err
    cache = json.loads((tmp_path / "model" / "teacher" / "cache.json").read_text())
    assert (cache["layers"], cache["sentence_share"], cache["share"]) == ([1], 0.5, 0.9)
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    for words in ('"nearest": 3.0', '"fold": true', '"lowercase_share": 0.5'):
        assert words in card
    losses = (tmp_path / "model" / "teacher_losses.csv").read_text()
    assert "stop_words" in losses
    assert "punctuation" not in losses
    types = json.loads((tmp_path / "model" / "text" / "types.json").read_text())
    assert {"The", "the"} <= set(types)

    assert train(*asked[:6], "--teacher-layers", "9", out="other") == 2
    assert "--teacher-layers has 9; expected numbers from 1 to 2" in capsys.readouterr().err
    (teacher / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert train(*asked[:6], "--lowercase-each-pass", out="other") == 2
    assert "--lowercase-each-pass needs an uncased teacher" in capsys.readouterr().err


def test_a_run_that_broke_off_before_its_first_batch_is_resumed(
    train: Callable[..., int],
    make_teacher: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "."])
    asked = ("--preset", "tiny", "--steps", "2", "--teacher", str(teacher))

    def fail(*_: object, **__: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(bilm, "pretrain", fail)
        assert train(*asked) == 1
    assert not (tmp_path / "model" / "checkpoint.pt").exists()
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "states_of", lambda *_: pytest.fail("it has been read"))
        assert train(*asked, "--resume") == 0
    assert train(*asked, out="whole") == 0
    made = [(tmp_path / name / "weights.hdf5").read_bytes() for name in ("model", "whole")]
    assert made[0] == made[1]
    assert train(*asked, "--resume", out="nothing") == 1


def test_a_saved_softmax_is_gone_on_with(train: Callable[..., int], tmp_path: Path) -> None:
    # The rate rises over 300 steps: this moves the softmax far from where it was drawn.
    assert train("--preset", "tiny", "--steps", "3", "--learning-rate", "20") == 0
    tuned = ("--from", str(tmp_path / "model"), "--steps", "1", "--learning-rate", "1e-9")

    def difference(out: str) -> float:
        assert train(*tuned, out=out) == 0
        found = load_file(tmp_path / out / "softmax.safetensors")["table"].float()
        return float((found - trained).abs().max())

    path = tmp_path / "model" / "softmax.safetensors"
    trained = load_file(path)["table"].float()
    assert difference("kept") < 2e-3
    path.unlink()
    assert difference("lost") > 0.05


def test_mean_of_models_is_a_model(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("one", "1"), ("other", "2")):
        assert train("--preset", "tiny", "--steps", "1", "--seed", seed, out=name) == 0
    capsys.readouterr()
    models = [str(tmp_path / "one"), f"{tmp_path / 'other'}=3"]
    out = tmp_path / "mean"
    assert main(["train", "mean", *models, "--out", str(out)]) == 0
    assert "0.250 of" in capsys.readouterr().out
    assert load(str(out), device="cpu").layers([["The", "cat"]])[0].shape == (3, 2, 32)
    assert main(["train", "mean", *models, "--out", str(out)]) == 2
    assert "is not empty; give a new directory" in capsys.readouterr().err
    assert main(["train", "mean", "en-small=much", "--out", str(tmp_path / "no")]) == 2
    assert "'en-small=much' has no weight; expected MODEL=WEIGHT" in capsys.readouterr().err
