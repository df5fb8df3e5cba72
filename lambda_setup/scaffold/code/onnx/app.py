"""The function's entry point: what template.yaml names as its handler."""

from lambda_inference import serve
from predictor import Network

lambda_handler = serve(Network)
