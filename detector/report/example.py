"""One prediction as a figure of the report."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.data.decode import to_rgb
from detector.figures.explanation import crop_prediction, prediction, unscored
from detector.inference.choice import choose_model
from detector.inference.decision import predict_image
from detector.inference.prediction import ABSTAIN
from detector.models.base import Detector


def prediction_figure(models: Mapping[str, Detector], image: Image.Image) -> Figure:
    """Return the prediction of the model that an image is for, as a figure: the image, what is scored, and P(FAKE)."""
    predicted = predict_image(models[choose_model(models, image)[0]], image)
    if predicted.crops is not None:
        crops = predicted.image, predicted.boxes, predicted.crop_probabilities.numpy()
        title = f"{predicted.label or ABSTAIN}: {predicted.reason}"
        return crop_prediction(*crops, probability=predicted.probability, title=title)
    shown = TF.pil_to_tensor(to_rgb(image))
    if predicted.pixels is None:
        return unscored(shown, predicted.reason)
    return prediction(shown, predicted.pixels[0], predicted.label, predicted.probability, predicted.reason)
