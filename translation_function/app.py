"""The function's entry point: what template.yaml names as its handler."""

from lambda_inference import serve
from translator import Translator

lambda_handler = serve(Translator)
