"""The command evaluate: what it compares, prints and refuses."""

import gzip
import json
import pickle

import numpy as np
import pytest

from elmo_infer.formats.word2vec import write_word2vec
from pipelines.__main__ import main


@pytest.fixture
def data(tmp_path):
    """A small sense set and a small sentence set."""
    rows = [
        {
            "id": f"{sense}{number}",
            "word": "bank",
            "index": 2,
            "sense": sense,
            "tokens": [f"{number}", before, "bank"],
        }
        for sense, before in (("water", "river"), ("money", "savings"))
        for number in range(8)
    ]
    (tmp_path / "data" / "coarsewsd20").mkdir(parents=True)
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    (tmp_path / "data" / "coarsewsd20" / "train.jsonl.gz").write_bytes(packed)
    (tmp_path / "data" / "stsb_en").mkdir()
    pairs = ["g\tf\ty\t1\t5\tThe bank.\tThe bank.\n", "g\tf\ty\t1\t0\tThe bank.\tA River.\n"]
    text = "".join([*pairs, "g\tf\ty\t1\t2\tThe bank\tThe savings.\n"])
    (tmp_path / "data" / "stsb_en" / "sts-dev.csv").write_text(text, encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def vectors(tmp_path, rng):
    words = ["bank", "river", "savings", "The", "."]
    write_word2vec(tmp_path / "toy.bin", words, rng.standard_normal((5, 4)).astype(np.float32))
    return str(tmp_path / "toy.bin")


def test_command_compares_models_and_writes_json_and_plot(
    data, vectors, tiny_elmo_dir, tmp_path, capsys
):
    pytest.importorskip("matplotlib")
    report, picture = tmp_path / "scores.json", tmp_path / "plot.png"
    models = [vectors, str(tiny_elmo_dir)]
    status = main(
        ["evaluate", *models, "--data", str(data), "--json", str(report), "--plot", str(picture)]
    )
    assert status == 0
    shown = capsys.readouterr().out
    assert "CoarseWSD-20" in shown
    assert "STS-B" in shown
    assert "toy.bin: D = 4, mix [1]" in shown
    assert "unknown words: stsb " in shown
    found = json.loads(report.read_text(encoding="utf-8"))
    assert [model["label"] for model in found["models"]] == ["toy.bin", tiny_elmo_dir.name]
    assert [model["n_layers"] for model in found["models"]] == [1, 3]
    layers = {each["layer"] for each in found["models"][1]["sets"][0]["scores"]}
    assert layers == {"layer 0", "layer 1", "layer 2", "mix"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_sample_says_so_in_the_table_and_in_the_json(data, vectors, tmp_path, capsys):
    report = tmp_path / "scores.json"
    arguments = ["--sets", "coarsewsd20", "--sample", "9", "--seed", "4", "--json", str(report)]
    assert main(["evaluate", vectors, "--data", str(data), *arguments]) == 0
    assert capsys.readouterr().out.startswith("SAMPLE (--sample 9 --seed 4): at most 9 occurrences")
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["settings"]["sample"], found["settings"]["seed"]) == (9, 4)
    assert found["models"][0]["sets"][0]["items"] == {"occurrences": 9, "words": 1}


def test_same_models_and_data_give_the_same_scores(data, tiny_elmo_dir, tmp_path, capsys):
    found = []
    for name in ("a.json", "b.json"):
        arguments = ["--data", str(data), "--json", str(tmp_path / name)]
        assert main(["evaluate", str(tiny_elmo_dir), *arguments]) == 0
        models = json.loads((tmp_path / name).read_text(encoding="utf-8"))["models"]
        found.append([each["scores"] for each in models[0]["sets"]])
    capsys.readouterr()
    assert found[0] == found[1]


def test_given_mixes_are_scored_beside_the_models_own(data, tiny_elmo_dir, capsys):
    arguments = ["--data", str(data), "--layer-weights", "0,1,0", "--layer-weights", "0,0.5,0.5"]
    assert main(["evaluate", str(tiny_elmo_dir), *arguments]) == 0
    rows = [line.split()[1:] for line in capsys.readouterr().out.splitlines() if line]
    by_view = {tuple(row[:2]): row[2:] for row in rows if row[:1] == ["mix"] or "layer" in row}
    assert by_view["mix", "0,1,0"] == by_view["layer", "1"]
    assert by_view["mix", "0,0.5,0.5"] != by_view["layer", "1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sets", "wic"], "set 'wic' is missing"),
        (["--sets", "nothing"], "no evaluation set is named 'nothing'"),
        (["--centerings", "mean-x"], "unknown centering 'mean-x'"),
        (["--sample", "0"], "--sample is 0; expected at least 1"),
        (["--json", "/no/such/folder/f.json"], "there is no folder /no/such/folder"),
        (["--markdown", "/no/such/folder/f.md"], "there is no folder /no/such/folder"),
        (["--beside", "no.json"], "--beside no.json: cannot be read: "),
        (["--language", "fr"], "no evaluation set is in language 'fr'; there are en, zh"),
        (["--plot", "plot.jpg"], "give a name that ends in .png"),
        (["--plot", "plot.png", "--sets", "stsb"], "--plot shows coarsewsd20 word by word"),
        (["--layer-weights", "1,2,3"], "none of these has layers"),
    ],
)
def test_bad_usage_is_told_before_any_work(data, vectors, capsys, arguments, words):
    assert main(["evaluate", vectors, "--data", str(data), *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_layer_weights_must_fit_the_model(data, tiny_elmo_dir, capsys):
    arguments = ["--data", str(data), "--layer-weights", "1,2,3", "--layer-weights", "1,2"]
    assert main(["evaluate", str(tiny_elmo_dir), *arguments]) == 2
    assert "--layer-weights: 2 layer weights for" in capsys.readouterr().err


def test_models_may_be_named(data, vectors, capsys):
    arguments = ["--data", str(data), "--sets", "stsb"]
    assert main(["evaluate", f"first={vectors}", f"second={vectors}", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "\nfirst   layer 0" in shown
    assert "\nsecond  layer 0" in shown


def test_earlier_scores_stand_beside_new_ones(data, vectors, tmp_path, capsys):
    earlier, both = tmp_path / "earlier.json", tmp_path / "both.json"
    short = tmp_path / "short.md"
    arguments = ["--data", str(data), "--sets", "coarsewsd20", "--sample", "9"]
    assert main(["evaluate", f"first={vectors}", *arguments, "--json", str(earlier)]) == 0
    arguments += ["--beside", str(earlier)]
    written = ["--json", str(both), "--markdown", str(short)]
    assert main(["evaluate", f"second={vectors}", *arguments, *written]) == 0
    assert "loading second" not in capsys.readouterr().err
    models = json.loads(both.read_text(encoding="utf-8"))["models"]
    assert [model["label"] for model in models] == ["first", "second"]
    assert models[0]["sets"][0]["scores"] == models[1]["sets"][0]["scores"]
    lines = short.read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| chance", "| first", "| second"]

    assert main(["evaluate", f"first={vectors}", *arguments]) == 2
    assert "already has a model first; give the new one another name" in capsys.readouterr().err
    assert main(["evaluate", vectors, *arguments, "--seed", "5"]) == 2
    assert "was made with seed 0, but this run has 5" in capsys.readouterr().err


def test_a_model_given_twice_is_refused(data, vectors, capsys):
    assert main(["evaluate", vectors, vectors, "--data", str(data)]) == 2
    assert "give each its own name: NAME=MODEL" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_told(data, capsys):
    assert main(["evaluate", "no/such/model", "--data", str(data)]) == 1
    told = capsys.readouterr().err
    assert "no model at no/such/model" in told
    assert "reading" not in told  # before the sets are read


def test_a_pickle_is_refused_before_the_sets_are_read(data, tmp_path, capsys):
    (tmp_path / "word2vec.model").write_bytes(pickle.dumps({"vectors": [1.0]}))
    assert main(["evaluate", str(tmp_path / "word2vec.model"), "--data", str(data)]) == 1
    told = capsys.readouterr().err
    assert "pickle" in told
    assert "reading" not in told


def test_help_names_the_sets_and_shows_no_empty_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    assert "coarsewsd20/" in shown
    assert "afqmc_zh" in shown
    assert "()" not in shown
    assert "[]" not in shown


def test_lowercase_fallback_reaches_the_static_model(data, vectors, capsys):
    arguments = ["evaluate", vectors, "--data", str(data), "--sets", "stsb"]
    assert main(arguments) == 0
    assert "stsb 11.8%" in capsys.readouterr().out  # "A" and "River" of 17 tokens
    assert main([*arguments, "--lowercase-fallback"]) == 0
    assert "stsb 5.9%" in capsys.readouterr().out  # "A" alone


@pytest.fixture
def induced_data(tmp_path):
    """Twelve rows of a lemma of SemCor-WSI's layout, and as many instances of SemEval-2013's."""
    folder = tmp_path / "sets"
    (folder / "semcor_wsi").mkdir(parents=True)
    words = ["river", "water", "boat"] * 2 + ["money", "loan", "cash"] * 2
    rows = [
        f'the {word} bank here,bank,{i // 6},1,NN,"({len(word) + 5}, {len(word) + 9})"'
        for i, word in enumerate(words)
    ]
    text = "\n".join(["sentence,lemma,lexsn,wnsn,pos,position", *rows])
    (folder / "semcor_wsi" / "test.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "semeval2013_wsi" / "gold").mkdir(parents=True)
    instances = "".join(
        f'<instance id="bank.n.{i}" lemma="bank" partOfSpeech="n" token="bank" '
        f'tokenStart="{len(word) + 5}" tokenEnd="{len(word) + 9}">The {word} bank here.</instance>'
        for i, word in enumerate(words)
    )
    xml = f'<instances lemma="bank" partOfSpeech="n">{instances}</instances>'
    (folder / "semeval2013_wsi" / "bank.n.xml").write_text(xml, encoding="utf-8")
    key = "".join(f"bank.n bank.n.{i} s{i // 6}/4\n" for i in range(12))
    (folder / "semeval2013_wsi" / "gold" / "all.key").write_text(key, encoding="utf-8")
    return folder


def test_induced_senses_are_scored_and_written(induced_data, tiny_elmo_dir, tmp_path, capsys):
    arguments = ["evaluate", str(tiny_elmo_dir), "--data", str(induced_data)]
    report = tmp_path / "scores.json"
    keys = tmp_path / "new" / "keys"
    assert main([*arguments, "--keys", str(keys), "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "Induced senses" in shown
    assert "over shuffled" in shown
    assert "random AVG" in shown
    rows = (keys / "semcor_wsi.key").read_text(encoding="utf-8").splitlines()
    assert [row.split("\t")[0] for row in rows] == [str(i) for i in range(12)]
    lines = (keys / "semeval2013_wsi.key").read_text(encoding="utf-8").splitlines()
    assert [line.split()[:2] for line in lines] == [["bank.n", f"bank.n.{i}"] for i in range(12)]
    assert len({line.split()[2] for line in lines}) == 2  # the set asks for a split
    written = report.read_text(encoding="utf-8")
    assert "over_one_cluster_low" in written
    assert "bank.n.11" not in written


def test_keys_are_refused_before_any_work(induced_data, data, vectors, tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    keys = ["--keys", str(tmp_path / "k")]
    for arguments, words in (
        ([vectors, "--data", str(data), "--sets", "stsb", *keys], "add one of them to --sets"),
        ([vectors, f"B={vectors}", "--data", str(induced_data), "--keys", "k"], "give one MODEL"),
        ([vectors, "--data", str(induced_data), "--keys", str(tmp_path / "file")], "found a file"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_few_occurrences_words_of_one_sense_and_labels_are_scored_by_one_command(
    data, vectors, tmp_path, capsys
):
    text, words = tmp_path / "text.txt", tmp_path / "words"
    text.write_text("\n\n".join(["The savings are by the river ."] * 30), encoding="utf-8")
    words.write_text("savings", encoding="utf-8")
    report, keys = tmp_path / "scores.json", tmp_path / "keys"
    status = main(
        [
            *("evaluate", vectors, "--data", str(data)),
            *("--sets", "small_samples,sense_labels,single_sense", "--text", str(text)),
            *("--single-sense", str(words), "--json", str(report), "--keys", str(keys)),
        ]
    )
    assert status == 0
    capsys.readouterr()
    found = json.loads(report.read_text(encoding="utf-8"))["models"][0]["sets"]
    items = {each["name"]: each["items"] for each in found}
    assert items == {
        "small_samples": {"occurrences": 16, "words": 1},
        "sense_labels": {"occurrences": 16, "words": 1},
        "single_sense": {"occurrences": 30, "words": 1},
    }
    scores = {score["metric"]: score["value"] for score in found[2]["scores"]}
    assert scores["split_at_24"] == 0  # all lines are the same
    assert len((keys / "single_sense.key").read_text().splitlines()) == 24


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sets", "single_sense"], "is read from text; give it with --text FILE"),
        (["--single-sense", "x"], "--single-sense is for the set single_sense"),
        (["--text", "README.md", "--language", "nl"], "no bundled list of words of one sense"),
        (["--text", "README.md", "--single-sense", "none"], "--single-sense none: there is no"),
    ],
)
def test_what_words_of_one_sense_need_is_said_before_any_work(
    data, vectors, capsys, arguments, words
):
    assert main(["evaluate", vectors, "--data", str(data), *arguments]) == 2
    assert words in capsys.readouterr().err
