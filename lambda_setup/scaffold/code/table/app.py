"""The function's entry point: what template.yaml names as its handler."""

from classifier import Classifier
from lambda_inference import serve

lambda_handler = serve(Classifier)
