"""Serve the demo with the released model `cnn` for `test_load`: python serve.py. It prints the address."""

import os
import threading

from detector.core import files
from detector.demo import app
from detector.models.weights import load_model

if __name__ == "__main__":
    app.UPLOADS_DELETED = (1, 60 if "TORTURE" in os.environ else 15)  # seconds, more than a request waits
    served = app.launch_demo({"cnn": load_model(files.model_file("cnn"))})
    print(served.local_url, flush=True)
    threading.Event().wait()
