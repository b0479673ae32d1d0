"""The two classes and the image side that the data sets and the models share."""

CLASSES = ("REAL", "FAKE")  # the index is the label; FAKE is the positive class
REAL, FAKE = range(2)
SIDE = 32  # pixels along each side of a CIFAKE image
UNKNOWN = -1  # object class of images without one
