"""Layers are counted as by hand."""

from detector.anatomy import layer_table, size_table
from detector.models import CNN, join_models


def test_layer_table_counts_by_hand():
    table = layer_table(CNN(widths=(16, 32), stem=16)).set_index("layer")
    assert table.loc["stem.0", "MACs"] == 32 * 32 * 16 * 3 * 9
    assert table.loc["stages.1.0.0", "parameters"] == 32 * 16 * 9
    assert table.loc["stages.1.0.0", "MACs"] == 16 * 16 * 32 * 16 * 9  # before the pooling
    assert table.loc["head", "MACs"] == 32
    assert len(table) == 1 + 2 * 3 + 1


def test_an_ensemble_counts_all_its_members():
    members = [CNN(widths=(16,), stem=16, mirror=True), CNN(widths=(16, 16), stem=16, mirror=True)]
    table = size_table({"one": members[0], "other": members[1], "both": join_models(members)})
    assert table.loc["both", "parameters"] == table["parameters"].iloc[:2].sum() - 1  # one bias in place of two
    assert table.loc["both", "MACs"] == table["MACs"].iloc[:2].sum()
    assert table["input side"].tolist() == [32, 32, 32]
    joined = join_models(members)
    joined.members[1].size = 64  # as of one that enlarges
    assert size_table({"both": joined})["input side"].tolist() == ["32 to 64"]
