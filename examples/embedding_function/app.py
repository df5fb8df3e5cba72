"""The function's entry point: what template.yaml names as its handler."""

from embedder import Embedder
from lambda_inference import serve

lambda_handler = serve(Embedder)
