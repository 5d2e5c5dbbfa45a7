"""Tables side by side, JSON that is read back, the plot."""

import json

import pytest

from pipelines.evaluation.report import (
    Series,
    from_json,
    merge_alike,
    plotted_series,
    tables,
    to_json,
)


def test_models_stand_side_by_side_with_chance_first(report_of, score):
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


def test_each_centering_and_kind_has_its_table_and_words_stay_out(report_of, score):
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


def test_a_table_wider_than_the_screen_is_broken_between_sets(report_of, score):
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


@pytest.fixture
def words_report(report_of, score):
    """A function that makes the report of one word's scores, raw and centred."""

    def make(label, n_layers, values):
        scores = [
            score("coarsewsd20", layer, metric, value, word="bank", centering=centering)
            for centering in ("raw", "mean")
            for layer, metric, value in values
        ]
        return report_of(label, scores, n_layers)

    return make


def test_plot_sets_static_against_contextual(words_report):
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


def test_plot_without_its_set_is_refused(report_of, score):
    with pytest.raises(ValueError, match="the plot shows coarsewsd20 word by word"):
        plotted_series([report_of("m", [score("wic", "mix", "accuracy", 0.5)])])


def test_json_is_read_back(report_of, score):
    report = report_of("m", [score("wic", "mix", "accuracy", 0.5), score("scws", "mix", "r", 0.1)])
    assert from_json(json.loads(json.dumps(to_json([report], {})))) == [report]
    with pytest.raises(ValueError, match="not the scores that evaluate --json writes"):
        from_json({"schema_version": 99})


def test_json_holds_every_score(report_of, score):
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
