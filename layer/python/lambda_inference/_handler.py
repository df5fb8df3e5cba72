"""From a predictor to a Lambda handler: everything that is the same for every model."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lambda_inference import _results, _telemetry
from lambda_inference._deadline import Deadline
from lambda_inference._errors import Fault, InternalError, TooLarge
from lambda_inference._events import Call, calls
from lambda_inference._predictor import Prediction, Predictor
from lambda_inference._requests import BaseRequest, parse
from lambda_inference._results import Origin, ResultStore
from lambda_inference._serving import ModelManager

INLINE_LIMIT = 5_000_000
"""Bytes of a response that is still sent inline; Lambda itself ends at 6,291,556."""

Handler = Callable[[Any, Any], dict[str, Any]]


def serve(predictor: type[Predictor]) -> Handler:
    """Return the Lambda handler that serves a predictor.

    Inside Lambda the model is loaded at once, while the function initialises; elsewhere at the
    first request. A model that cannot be loaded then is tried again with each request.
    """
    service = Service(predictor)
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        service.initialise()

    def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
        return service.handle(event, context)

    return lambda_handler


class Service:
    """A predictor, its model, and the way of every request to them and back."""

    def __init__(self, predictor: type[Predictor]) -> None:
        self.predictor_type = predictor
        self.models = ModelManager(predictor)
        self.cold = True

    def initialise(self) -> None:
        """Load the model if it can be had; if not, the first request says why."""
        try:
            self.models.initialise()
        except Fault as fault:
            _telemetry.info("the model could not be loaded yet", code=fault.code)
        except Exception as error:  # noqa: BLE001 - an init that fails would be repeated without an answer
            _telemetry.failure(error)

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one invocation."""
        deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000)
        _telemetry.invocation(context.aws_request_id)
        if self.cold:
            _telemetry.count("ColdStart")
            self.cold = False
        try:
            all_calls, queued = calls(event)
            if not queued:
                return self._answer(all_calls[0], deadline, context.aws_request_id)
            return self._each_message(event, all_calls, deadline, context.aws_request_id)
        finally:
            _telemetry.flush()

    def _each_message(
        self, event: dict[str, Any], all_calls: list[Call], deadline: Deadline, request_id: str
    ) -> dict[str, Any]:
        """Answer messages one by one, and tell the queue which failed.

        It has those retried, and sends them to its dead-letter queue in the end: nothing is lost.
        """
        from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

        by_id = {call.message_id: call for call in all_calls}

        def answer(record: Any) -> None:
            if self._answer(by_id[record.message_id], deadline, request_id)["statusCode"] != 200:  # noqa: PLR2004
                raise Fault("the log has why")

        processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
        return dict(process_partial_response(event, answer, processor))

    def _answer(self, call: Call, deadline: Deadline, request_id: str) -> dict[str, Any]:
        """Return the response to one call, raising what its caller only sees as an error."""
        raised = False
        try:
            payload = call.payload()
            if isinstance(payload, dict) and payload.keys() == {"manifest"} and call.direct:
                raised = True
                from lambda_inference import _batches

                return call.answer(200, _batches.write(payload["manifest"]))
            raised = isinstance(payload, dict) and payload.get("errors") == "raise"
            request = parse(payload, self.predictor_type.Request)
            name = request.id or call.message_id or request_id
            return self._respond(call, request, payload, deadline, name)
        except Fault as fault:
            found = fault
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _telemetry.failure(error)
            found = InternalError(f"an internal error; the log has it under the request id {request_id}")
        server_fault = found.status >= 500  # noqa: PLR2004
        _telemetry.count("Failed" if server_fault else "Rejected")
        message = {"message_id": call.message_id} if call.message_id else {}
        _telemetry.info("not answered", status=found.status, code=found.code, **message)
        response = call.answer(found.status, found.body())
        if call.http or call.message_id or not (server_fault or raised):
            return response
        # Lambda, Step Functions and SQS retry only what fails; the message is the response.
        raise type(found)(json.dumps(response)) from None

    def _respond(
        self, call: Call, request: BaseRequest, payload: dict[str, Any], deadline: Deadline, name: str
    ) -> dict[str, Any]:
        lines = None
        if request.source and not request.warmup:
            from lambda_inference._shards import ShardRequest

            lines = ShardRequest(payload, request, self.predictor_type.Request)
            # A run that is begun anew, or a second attempt, finds what the first one did.
            if request.result == "s3" and (body := ResultStore.from_environment().find(name, lines.digest())):
                return call.answer(200, body)
        serving = self.models.current(deadline, request.model_version)
        if request.warmup:
            return call.answer(200, {"warmup": "confirmed"})
        timings: dict[str, float] = {}
        with _telemetry.timed(timings, "predict"):
            if lines:
                predictions = lines.predict(serving.predictor, deadline)
            else:
                predictions = list(serving.predictor.predict(request, deadline))
        model = serving.manifest
        origin = Origin(name, (lines or request).digest(), model.name, serving.version, model.engine)
        if lines:
            beside = {"failed": lines.failed, "attempt": call.attempt or 0, "predict_ms": timings["predict"]}
            origin = replace(origin, beside=beside)
        response = None
        if request.result != "s3":
            response = self._inline(call, request, origin, predictions, timings)
        if response is None:
            with _telemetry.timed(timings, "store"):
                body = ResultStore.from_environment().write(origin, predictions)
            response = call.answer(200, body | {"timings_ms": timings})
        self._measure(predictions, timings)
        return response

    @staticmethod
    def _inline(
        call: Call,
        request: BaseRequest,
        origin: Origin,
        predictions: list[Prediction],
        timings: dict[str, float],
    ) -> dict[str, Any] | None:
        """Return the response with the predictions inside, None when S3 has to take them."""
        numbers = sum(
            len(array.data) for p in predictions for arrays in p.arrays.values() for array in arrays
        )
        size = numbers // 2  # a float32 takes four bytes, and never under two characters of JSON
        response: dict[str, Any] = {}
        if size < INLINE_LIMIT:
            response = call.answer(
                200,
                {
                    "predictions": _results.inline(predictions),
                    "count": len(predictions),
                    "model": {"name": origin.model, "version": origin.version},
                    "engine": origin.engine,
                    **origin.beside,
                    "timings_ms": timings,
                },
            )
            size = len(json.dumps(response))
        if size < INLINE_LIMIT:
            return response
        if request.result == "inline":
            raise TooLarge(
                f"the answer is {size:,} bytes or more, and inline ends below {INLINE_LIMIT:,}; "
                'ask for "result": "s3" (or "auto"), or send fewer items',
                field="result",
            )
        return None

    @staticmethod
    def _measure(predictions: list[Prediction], timings: dict[str, float]) -> None:
        _telemetry.count("Items", len(predictions))
        for name in {name for prediction in predictions for name in prediction.counts}:
            _telemetry.count(name, sum(prediction.counts.get(name, 0) for prediction in predictions))
        for name, milliseconds in timings.items():
            _telemetry.duration(name.capitalize(), milliseconds)
        _telemetry.info("answered", items=len(predictions), **timings)
