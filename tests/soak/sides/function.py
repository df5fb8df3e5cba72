"""A function of either release: ``python function.py EVENT`` prints its answer; the model is a word."""

import json
import sys
from types import SimpleNamespace

from lambda_inference import BaseRequest, Prediction, serve


class Shout:
    """A predictor that repeats its model's word."""

    class Request(BaseRequest):
        """A request to shout."""

        data: list[str]

    def load(self, model):
        """Take the word."""
        self.word = bytes(model.files["word.txt"]).decode()

    def predict(self, request, _):
        """Say each text with the word."""
        for index, text in enumerate(request.data):
            yield Prediction({"index": index, "text": f"{text} {self.word}"})


if __name__ == "__main__":
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 30_000, aws_request_id="sides")
    handler = serve(Shout)
    for line in sys.argv[1:]:
        try:
            answer = handler(json.loads(line), context)
        except Exception as error:  # noqa: BLE001 - Lambda shows it by its name
            answer = {"raised": type(error).__name__, "message": str(error)}
        sys.stdout.write(f"ANSWER {json.dumps(answer)}\n")
