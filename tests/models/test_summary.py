"""Layer and size tables against counts by hand."""

from detector.models.cnn import CNN
from detector.models.summary import layer_table, size_table
from detector.models.transfer import Transfer


def test_layer_table_equals_counts_by_hand():
    table = layer_table(CNN(widths=(16, 32), stem=16)).set_index("layer")
    assert table.loc["stem.0", "MACs"] == 32 * 32 * 16 * 3 * 9
    assert table.loc["stages.1.0.0", "parameters"] == 32 * 16 * 9
    assert table.loc["stages.1.0.0", "MACs"] == 16 * 16 * 32 * 16 * 9  # before the pooling
    assert table.loc["head", "MACs"] == 32
    assert len(table) == 1 + 2 * 3 + 1


def test_size_table_has_the_side_parameters_and_macs_of_each_model():
    cnn, transfer = CNN(widths=(16,), stem=16, flip_tta=True), Transfer(size=32)
    table = size_table({"small": cnn, "large": transfer, "resized": Transfer(size=64)})
    assert table["input side"].tolist() == [32, 32, 64]
    assert table.loc["small", "parameters"] == sum(p.numel() for p in cnn.parameters())
    assert table.loc["small", "MACs"] == layer_table(cnn)["MACs"].sum()
    assert table.loc["large", "MACs"] == table.loc["resized", "MACs"]
