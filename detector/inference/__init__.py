"""Use a trained detector: probabilities, decisions with abstention, calibration, and whole folders of files."""
