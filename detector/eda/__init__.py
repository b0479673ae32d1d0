"""Exploratory data analysis: leakage between train and test, class statistics, shortcut features."""

# ruff: noqa: F401 - re-exported

from detector.eda.leakage import (
    CHANGES,
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
    train_duplicates,
)
from detector.eda.shortcuts import (
    SHORTCUTS,
    dct_coefficients,
    measure,
    noise_residual,
    probe,
    shortcut_table,
    shortcuts_elsewhere,
)
from detector.eda.statistics import (
    brightness,
    colour_table,
    describe_sources,
    first_of_each,
    mean_images,
    mean_spectra,
    object_class_means,
    power_spectra,
    radial_spectra,
    spectrum_differences,
    spectrum_table,
)
