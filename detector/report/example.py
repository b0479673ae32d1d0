"""One prediction as a figure: for the report, and for README on a photo of an installable package."""

from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.data.decode import to_rgb
from detector.figures.explanation import crop_prediction, prediction, unscored
from detector.inference.decision import predict_image
from detector.inference.prediction import ABSTAIN
from detector.models.base import Detector
from detector.models.weights import DEFAULT_MODEL, load_model


def prediction_figure(model: Detector, image: Image.Image) -> Figure:
    """Return the model's prediction for an image as a figure: the image, what the model scores, and P(FAKE)."""
    predicted = predict_image(model, image)
    if predicted.crops is not None:
        crops = predicted.image, predicted.boxes, predicted.crop_probabilities.numpy()
        title = f"{predicted.label or ABSTAIN}: {predicted.reason}"
        return crop_prediction(*crops, probability=predicted.probability, title=title)
    shown = TF.pil_to_tensor(to_rgb(image))
    if predicted.pixels is None:
        return unscored(shown, predicted.reason)
    return prediction(shown, predicted.pixels[0], predicted.label, predicted.probability, predicted.reason)


def write_example() -> None:
    """Write README's figure: the default model's prediction for scikit-learn's photo of a flower."""
    from sklearn.datasets import load_sample_image

    model = load_model(files.model_file(DEFAULT_MODEL))
    figure = prediction_figure(model, Image.fromarray(load_sample_image("flower.jpg")))
    with files.atomic_write(files.EXAMPLE) as part:
        figure.savefig(part, format="png", dpi=100, metadata={"Software": None})
