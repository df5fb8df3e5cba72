"""The function's entry point: what template.yaml names as its handler."""

from lambda_inference import serve
from scorer import Scorer

lambda_handler = serve(Scorer)
