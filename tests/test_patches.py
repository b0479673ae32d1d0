"""The ways in which a larger picture can be judged, against the views by themselves."""

import torch

from benchmarks.patches import BOTH, PARTS, WHOLE, figures, judged
from detector.prediction import predict, predict_logits
from detector.verdicts import predict_views


def test_each_way_is_what_its_views_say(small_cnn, standin):
    views = standin.test.pixels[:30].view(3, 10, 3, 32, 32)
    probs, verdicts = judged(small_cnn, views)
    assert torch.allclose(probs[WHOLE], predict(small_cnn, views[:, 0]))
    assert torch.allclose(probs[BOTH], torch.cat([predict_views(small_cnn, own, [10]) for own in views]), atol=1e-5)
    expected = [torch.sigmoid(predict_logits(small_cnn, own[1:]).mean()) for own in views]
    assert torch.allclose(probs[PARTS], torch.stack(expected), atol=1e-5)
    assert {way: table["prob"].tolist() for way, table in verdicts.items()} == {
        way: probs[way].double().tolist() for way in (WHOLE, BOTH)
    }


def test_fakes_are_set_against_photographs_judged_the_same_way(small_cnn, standin):
    views = standin.test.pixels[:120].view(12, 10, 3, 32, 32)
    table = figures(small_cnn, {"REAL/a": views[:8], "FAKE/b": views[8:]}).set_index(["way", "source", "metric"])
    for way in (WHOLE, PARTS, BOTH):
        probs = [judged(small_cnn, some)[0][way] for some in (views[8:], views[:8])]
        above = probs[0][:, None] > probs[1][None]
        assert table.loc[(way, "FAKE/b", "auc"), "value"] == float(above.float().mean())
        assert table.loc[(way, "REAL/a", "false_fake_rate"), "n"] == 8
    assert (BOTH, "REAL/a", "coverage") in table.index
    assert (PARTS, "REAL/a", "coverage") not in table.index
