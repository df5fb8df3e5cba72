"""The function's entry point: what template.yaml names as its handler."""

from images import ImageClassifier
from lambda_inference import serve

lambda_handler = serve(ImageClassifier)
