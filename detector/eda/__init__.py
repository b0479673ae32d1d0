"""Exploratory data analysis: leakage between train and test, class statistics, shortcut features.

The names that the notebook uses are here too.
"""

# ruff: noqa: F401 - re-exported

from detector.eda.leakage import (
    compare_leaks,
    count_duplicates,
    count_leaks,
    cross_class_duplicates,
    find_duplicates,
    index_classes,
    leaks,
    leaks_by_distance,
    order_images,
    sample_pairs,
    synthetic_recall,
)
from detector.eda.shortcuts import shortcut_table, shortcuts_elsewhere
from detector.eda.statistics import (
    check_class_order,
    colour_table,
    describe_sources,
    first_of_each,
    mean_images,
    mean_spectra,
    object_class_means,
    spectrum_differences,
    spectrum_table,
)
