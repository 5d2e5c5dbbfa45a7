"""The tables, the JSON and the plot of `sensegrep evaluate`, and the command itself."""

import gzip
import json
import pickle

import numpy as np
import pytest

from elmo_infer.formats.word2vec import write_word2vec
from pipelines.__main__ import main
from pipelines.evaluation.evaluate import Score, SetReport
from pipelines.evaluation.report import (
    ModelReport,
    Series,
    from_json,
    merge_alike,
    plotted_series,
    tables,
    to_json,
)
from pipelines.evaluation.side_by_side import markdown


def report_of(label, scores, n_layers=2):
    sets = tuple(
        SetReport(
            name=name,
            items={},
            unknown_share=0.0,
            embed_seconds=0.0,
            score_seconds=0.0,
            scores=tuple(score for score in scores if score.set == name),
        )
        for name in dict.fromkeys(score.set for score in scores)
    )
    return ModelReport(
        label=label,
        path=label,
        fingerprint="f",
        dim=2,
        n_layers=n_layers,
        layer_weights=(1.0,) * n_layers,
        sets=sets,
    )


def score(set_name, layer, metric, value, **more):
    more = {"centering": "raw", **more}
    return Score(set=set_name, layer=layer, metric=metric, value=value, **more)


def test_models_stand_side_by_side_with_chance_first():
    static = report_of(
        "cbow",
        [
            score("coarsewsd20", "layer 0", "accuracy", 0.5),
            score("coarsewsd20", "layer 0", "majority_accuracy", 0.5),
            score("wic", "layer 0", "accuracy", 0.51),
        ],
    )
    elmo = report_of("elmo", [score("coarsewsd20", "mix", "accuracy", 0.875)])
    lines = tables([static, elmo]).splitlines()
    assert lines[0] == "Tokens, centering: raw"
    assert lines[2].split() == ["CoarseWSD-20", "WiC"]
    assert [line.split() for line in lines[3:7]] == [
        ["model", "layer", "acc", "acc"],
        ["(chance)", "50.0"],
        ["cbow", "layer", "0", "50.0", "51.0"],
        ["elmo", "mix", "87.5"],
    ]


def test_each_centering_and_kind_has_its_table_and_words_stay_out():
    report = report_of(
        "m",
        [
            score("stsb", "mix", "spearman", 0.61, pooling="attention", centering="mean"),
            score("scws", "mix", "spearman", 0.5, centering="mean"),
            score("coarsewsd20", "mix", "map", 0.25),
            score("coarsewsd20", "mix", "map", 0.99, word="bank"),
        ],
    )
    text = tables([report])
    titles = [line for line in text.splitlines() if "centering:" in line]
    assert titles == [
        "Tokens, centering: mean",
        "Sentences, centering: mean",
        "Tokens, centering: raw",
    ]
    assert "attention" in text
    assert "61.0" in text
    assert "99.0" not in text


def test_a_table_wider_than_the_screen_is_broken_between_sets():
    scores = [
        score(name, "mix", metric, 0.5)
        for name in ("coarsewsd20", "senseval")
        for metric in ("accuracy", "macro_f1", "precision_at_10", "precision_at_10_micro", "map")
    ]
    report = report_of("m", [*scores, score("scws", "mix", "spearman", 0.25)])
    assert tables([report], 60) != tables([report])
    blocks = tables([report], 60).split("\n\n")
    assert [block.split("\n")[0].split() for block in blocks[1:-1]] == [
        ["CoarseWSD-20"],
        ["Senseval", "SCWS"],
    ]
    assert [block.split("\n")[-1].split()[:2] for block in blocks[1:-1]] == [["m", "mix"]] * 2
    assert max(len(line) for line in tables([report], 60).splitlines()) <= 60


def test_markdown_gives_raw_and_best_centered_by_hand():
    static = report_of("cbow", [score("wic", "layer 0", "accuracy", 0.5)], n_layers=1)
    elmo = report_of(
        "elmo",
        [
            score("coarsewsd20", "layer 1", "macro_f1", 0.6),
            score("coarsewsd20", "layer 1", "majority_macro_f1", 0.3),
            score("coarsewsd20", "layer 1", "macro_f1", 0.9, word="bank"),
            score("wic", "layer 1", "accuracy", 0.51),
            score("wic", "layer 1", "accuracy", 0.55, centering="mean"),
            score("wic", "layer 1", "accuracy", 0.54, centering="mean-1"),
            score("stsb", "mix", "spearman", 0.61, pooling="attention"),
            score("stsb", "mix", "spearman", -0.5, pooling="max"),
        ],
    )
    assert markdown([elmo, static]) == (
        "| model | CoarseWSD-20 F1 | WiC acc |\n"
        "| --- | ---: | ---: |\n"
        "| chance | 30.0 |  |\n"
        "| elmo layer 1 | 60.0 | 51.0 / 55.0 |\n"
        "| cbow |  | 50.0 |\n"
        "\n"
        "| model | STS-B attention | STS-B max |\n"
        "| --- | ---: | ---: |\n"
        "| elmo mix | 61.0 | -50.0 |\n"
        "\n"
        "All numbers x 100; raw / best of the centerings mean, mean-1.\n"
    )


def words_report(label, n_layers, values):
    scores = [
        score("coarsewsd20", layer, metric, value, word="bank", centering=centering)
        for centering in ("raw", "mean")
        for layer, metric, value in values
    ]
    return report_of(label, scores, n_layers)


def test_plot_sets_static_against_contextual():
    metric = "precision_at_10"
    static = words_report(
        "cbow", 1, [("layer 0", f"chance_{metric}", 0.3), ("layer 0", metric, 0.31)]
    )
    elmo = words_report(
        "elmo",
        3,
        [("layer 0", metric, 0.32), ("layer 1", metric, 0.6), ("mix", metric, 0.7)],
    )
    centering, series = plotted_series([static, elmo])
    assert centering == "mean"
    assert {(each.label, each.contextual, each.values["bank"]) for each in series} == {
        ("chance", False, 0.3),
        ("cbow", False, 0.31),
        ("elmo, layer 0", False, 0.32),
        ("elmo, mix", True, 0.7),
    }


def test_static_series_of_the_same_values_share_a_mark():
    merged = merge_alike(
        [
            Series("chance", False, {"bank": 0.5, "arm": 0.4}),
            Series("cbow", False, {"bank": 0.501, "arm": 0.4}),
            Series("nnlm", False, {"bank": 0.5, "arm": 0.45}),
            Series("elmo", True, {"bank": 0.5, "arm": 0.4}),
            Series("elmo2", True, {"bank": 0.5, "arm": 0.4}),
        ]
    )
    assert [each.label for each in merged] == ["chance = cbow", "nnlm", "elmo", "elmo2"]


def test_plot_without_its_set_is_refused():
    with pytest.raises(ValueError, match="the plot shows coarsewsd20 word by word"):
        plotted_series([report_of("m", [score("wic", "mix", "accuracy", 0.5)])])


def test_json_is_read_back():
    report = report_of("m", [score("wic", "mix", "accuracy", 0.5), score("scws", "mix", "r", 0.1)])
    assert from_json(json.loads(json.dumps(to_json([report], {})))) == [report]
    with pytest.raises(ValueError, match="not the scores that --json writes"):
        from_json({"schema_version": 99})


def test_json_holds_every_score():
    report = report_of("m", [score("wic", "mix", "accuracy", 0.5)])
    found = json.loads(json.dumps(to_json([report], {"sample": 3})))
    assert found["schema_version"] == 1
    assert found["settings"] == {"sample": 3}
    assert found["models"][0]["sets"][0]["scores"] == [
        {
            "set": "wic",
            "layer": "mix",
            "centering": "raw",
            "metric": "accuracy",
            "value": 0.5,
            "pooling": "",
            "word": "",
        }
    ]


# --- the command ----------------------------------------------------------------------------------


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
        (["--plot", "plot.jpg"], "end the name in .png"),
        (["--plot", "plot.png", "--sets", "stsb"], "--plot shows coarsewsd20 word by word"),
        (["--layer-weights", "1,2,3"], "none of the models has layers to mix"),
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
    assert "holds a model first; name the new one" in capsys.readouterr().err
    assert main(["evaluate", vectors, *arguments, "--seed", "5"]) == 2
    assert "was made with seed 0, this is 5" in capsys.readouterr().err


def test_a_model_given_twice_is_refused(data, vectors, capsys):
    assert main(["evaluate", vectors, vectors, "--data", str(data)]) == 2
    assert "name each with NAME=MODEL" in capsys.readouterr().err


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
