"""The report: its tables, its execution and rendering, and the model card."""

# ruff: noqa: F401 - re-exported

from detector.report.example import prediction_figure
from detector.report.native import (
    compare_heads,
    edits_table,
    embed_live,
    embedding_counts,
    headline_tables,
    held_out_table,
    left_out_sources,
    left_out_table,
    native_models_table,
    no_photo_table,
    released_overview,
    shortcut_streams,
    slices_table,
    treatments_table,
)
from detector.report.studies import (
    component_runs,
    corruption_grid,
    equal_time_table,
    faithfulness_table,
    gpu_speed_table,
    image_count_runs,
    leave_one_out_table,
    mean_over_seeds,
    memory_table,
    mistake_runs,
    mistakes_table,
    ood_table,
    overview_table,
    pareto_front,
    recipe_table,
    resolution_table,
    results_grid,
    robustness_table,
    scaling_table,
    seed_table,
    sources_grid,
    speed_table,
    threshold_table,
    unseen_shares,
)
from detector.report.tables import banner, published_duplicates, published_results, table
