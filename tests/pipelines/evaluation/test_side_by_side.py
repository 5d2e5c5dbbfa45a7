"""The short table of models."""

from pipelines.evaluation.side_by_side import markdown


def test_markdown_gives_raw_and_best_centered_by_hand(report_of, score):
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
