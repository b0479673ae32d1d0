"""The demo: a Gradio app that predicts REAL or FAKE for a person's own images and shows the evidence."""

from detector.demo.app import build_demo, launch_demo
from detector.demo.panels import to_pil

__all__ = ["build_demo", "launch_demo", "to_pil"]
