"""The function's entry point: what template.yaml names as its handler."""

from entities import TextAnalyser
from lambda_inference import serve

lambda_handler = serve(TextAnalyser)
