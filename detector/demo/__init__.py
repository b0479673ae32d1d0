"""The demo: a Gradio app that predicts REAL or FAKE for a person's own images and shows the evidence."""

# ruff: noqa: F401 - re-exported

from detector.demo.app import launch_demo
from detector.demo.panels import to_pil
