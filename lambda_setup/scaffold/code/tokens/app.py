"""The function's entry point: what template.yaml names as its handler."""

from lambda_inference import serve
from tagger import Tagger

lambda_handler = serve(Tagger)
