"""Layers are counted as by hand."""

from detector.anatomy import layer_table
from detector.models import CNN


def test_layer_table_counts_by_hand():
    table = layer_table(CNN(widths=(16, 32), stem=16)).set_index("layer")
    assert table.loc["stem.0", "MACs"] == 32 * 32 * 16 * 3 * 9
    assert table.loc["stages.1.0.0", "parameters"] == 32 * 16 * 9
    assert table.loc["stages.1.0.0", "MACs"] == 16 * 16 * 32 * 16 * 9  # before the pooling
    assert table.loc["head", "MACs"] == 32
    assert len(table) == 1 + 2 * 3 + 1
