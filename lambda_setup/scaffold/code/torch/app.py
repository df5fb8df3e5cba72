"""The function's entry point: what template.yaml names as its handler."""

from lambda_inference import serve
from predictor import Module

lambda_handler = serve(Module)
