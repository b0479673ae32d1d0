"""The report: its tables, its execution and rendering, and the model card.

The notebook's names load on first use, so that the process that executes the notebook stays small.
"""

from importlib import import_module

NAMES = {
    "example": ("prediction_figure",),
    "native": (
        "compare_heads",
        "edits_table",
        "embed_live",
        "embedding_counts",
        "headline_tables",
        "held_out_table",
        "left_out_sources",
        "native_models_table",
        "no_photo_table",
        "released_overview",
        "shortcut_streams",
        "slices_panels",
        "treatments_table",
    ),
    "studies": (
        "component_runs",
        "corruption_grid",
        "equal_time_table",
        "faithfulness_table",
        "gpu_speed_table",
        "image_count_runs",
        "leave_one_out_grid",
        "memory_table",
        "mistake_runs",
        "mistakes_table",
        "ood_table",
        "overview_table",
        "pareto_front",
        "recipe_table",
        "photos_table",
        "resolution_grid",
        "results_grid",
        "robustness_table",
        "scaling_table",
        "scores_grid",
        "seed_table",
        "source_shares",
        "sources_grid",
        "speed_table",
        "threshold_table",
    ),
    "tables": (
        "banner",
        "published_duplicates",
        "table",
    ),
}


def __getattr__(name: str) -> object:
    for module, names in NAMES.items():
        if name in names:
            return getattr(import_module(f"detector.report.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
