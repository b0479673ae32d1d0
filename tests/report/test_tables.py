"""Tables: percentages with intervals in one piece, formats by column, and a banner for each kind of run."""

from dataclasses import replace

import pandas as pd

from detector.report.tables import banner, published_results, table
from detector.training.recipes import BUDGETS, DEFAULT_BUDGET


def test_intervals_stay_in_one_piece_and_numbers_are_short():
    text = pd.DataFrame({"accuracy": ["98.12% (10.00 – 100.00)"]}, index=["cnn"])
    assert "98.12%\n(10.00–\u2060100.00)" in table(text, "accuracy").to_html()
    history = pd.DataFrame({"loss": [0.5, 0.25]}, index=pd.Index([0.25, 1.0], name="epoch"))
    shown = table(history, "training").to_html()
    assert ">0.25<" in shown and ">1<" in shown and ">0.5000<" in shown


def test_values_become_percentages_beside_their_interval():
    frame = pd.DataFrame({"value": [0.5], "low": [0.4], "high": [0.6], "n": [1000]}, index=["accuracy"])
    shown = table(frame, "scores").to_html()
    assert "50.00%" in shown and "40.00 – 60.00" in shown and "1,000" in shown and "scores" in shown


def test_names_are_written_in_words():
    shown = table(pd.DataFrame({"f1": [0.5], "images_per_second": [1234.5]}), "scores").to_html()
    assert ">F1<" in shown and ">images per second<" in shown and ">1,234<" in shown


def test_a_missing_value_is_a_dash():
    assert "–" in table(pd.DataFrame({"seconds": [None]}, dtype=float), "times").to_html()


def test_the_banner_says_when_a_run_is_not_the_committed_one(toy):
    assert "toy dataset" in banner(toy, DEFAULT_BUDGET).data
    cifake = replace(toy, name="CIFAKE", note="CIFAKE version 3.")
    for budget in BUDGETS:
        assert ("This run has the budget" in banner(cifake, budget).data) == (budget != DEFAULT_BUDGET)
    assert "CIFAKE version 3." in banner(cifake, DEFAULT_BUDGET).data


def test_each_published_result_has_a_grade():
    assert set(published_results()["grade"]) == {"read", "claim"}
