"""The function's entry point: what template.yaml names as its handler."""

from lambda_inference import serve
from reader import Reader

lambda_handler = serve(Reader)
