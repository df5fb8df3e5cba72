"""The Lambda handler around a predictor."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lambda_inference import _layer_marker, _telemetry
from lambda_inference._background import BackgroundTask
from lambda_inference._deadline import Deadline
from lambda_inference._errors import Fault, ForeignEvent, InternalError
from lambda_inference._events import Call, parse_event
from lambda_inference._foreign import TEST_EVENT
from lambda_inference._inline import InlineRecords
from lambda_inference._predictor import Prediction, Predictor
from lambda_inference._requests import BaseRequest, parse
from lambda_inference._results import Origin, ResultStore
from lambda_inference._serving import ModelManager

if TYPE_CHECKING:
    from lambda_inference._shards import ShardRequest

Handler = Callable[[Any, Any], dict[str, Any]]
T = TypeVar("T")


def serve(predictor: type[Predictor]) -> Handler:
    """Return the Lambda handler that serves a predictor.

    Inside Lambda the model is loaded while the function initialises, elsewhere at the first request.
    If it cannot be loaded, each request tries again.
    """
    service = Service(predictor)
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        service.initialise()

    def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
        return service.handle(event, context)

    lambda_handler.predictor_type = predictor  # type: ignore[attr-defined] # for smoke predictions
    return lambda_handler


class Service:
    """A predictor and its models, behind every form of request."""

    def __init__(self, predictor: type[Predictor]) -> None:
        self.predictor_type = predictor
        self.models = ModelManager(predictor)
        self.cold = True
        self.cold_code: Any = None
        if _layer_marker.split:
            from lambda_inference._cold_code import ColdCode

            self.cold_code = ColdCode()

    def initialise(self) -> None:
        """Load the model if it is available; if not, the first request says why."""
        try:
            self.models.initialise()
        except Fault as fault:
            _telemetry.warn("the model could not be loaded yet", code=fault.code, reason=fault.message)
        except Exception as error:  # noqa: BLE001 - Lambda would repeat an init that fails, without an answer
            _telemetry.log_failure(error)
        finally:
            # Now, because every environment that is restored from a snapshot would repeat them.
            _telemetry.flush()

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one invocation."""
        deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000)
        _telemetry.set_request_id(context.aws_request_id)
        if self.cold:
            _telemetry.count("ColdStart")
            self.cold = False
        try:
            calls, queued = parse_event(event, self.predictor_type.Request)
            if not queued:
                return self._answer(calls[0], deadline, context.aws_request_id)
            return self._answer_messages(calls, deadline, context.aws_request_id)
        finally:
            if self.cold_code:
                self.cold_code.record()
            _telemetry.flush()

    def _answer_messages(self, calls: list[Call], deadline: Deadline, request_id: str) -> dict[str, Any]:
        """Answer messages one by one, and return the failed ones to the queue.

        It retries them, and moves them to its dead-letter queue in the end.
        """

        def fails(call: Call) -> bool:
            try:
                return bool(self._answer(call, deadline, request_id)["statusCode"] != 200)  # noqa: PLR2004
            except Exception:  # noqa: BLE001 - logged when it was raised; the other messages go on
                return True

        failed = [call.message_id for call in calls if fails(call)]
        return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}

    def _answer(self, call: Call, deadline: Deadline, request_id: str) -> dict[str, Any]:
        """Return the response to one call, which may be that of a fault."""
        payload: Any = None
        try:
            payload = call.payload()
            return self._respond(call, payload, deadline, request_id)
        except Fault as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _telemetry.log_failure(error)
            fault = InternalError(f"an internal error; the log has it under the request id {request_id}")
        asked = call.manifest or (isinstance(payload, dict) and payload.get("errors") == "raise")
        return _respond_to_fault(call, fault, raise_all=asked)

    def _respond(self, call: Call, payload: Any, deadline: Deadline, request_id: str) -> dict[str, Any]:
        if call.manifest:
            from lambda_inference import _batches

            return call.answer(200, _within(deadline, lambda: _batches.write_manifest(payload)))
        if payload is TEST_EVENT:
            return call.answer(200, {"acknowledged": "s3:TestEvent"})
        request = parse(payload, self.predictor_type.Request)
        if request.warmup:
            self.models.select(deadline, request.model_version)
            return call.answer(200, {"warmup": "confirmed"})
        shard = None
        if request.source:
            from lambda_inference._shards import ShardRequest

            shard = ShardRequest(payload, request, self.predictor_type.Request)
        # A repeated request finds the first one's result, whichever model serves now, if any.
        given_id = request.id or call.message_id
        name = given_id or request_id
        if request.result == "s3" and (given_id or shard):
            timings = {"predict": 0.0}
            with _telemetry.measure(timings, "store"):
                store, digest = ResultStore.from_environment(), (shard or request).digest()
                stored = _within(deadline, lambda: store.find(name, digest))
            if stored:
                return call.answer(200, stored | {"timings_ms": timings})
        return self._predict(call, request, shard, deadline, name)

    def _predict(
        self, call: Call, request: BaseRequest, shard: "ShardRequest | None", deadline: Deadline, name: str
    ) -> dict[str, Any]:
        """Predict, and return the response with the answer or its place."""
        serving = self.models.select(deadline, request.model_version)
        inline = InlineRecords(request, serving.predictor, compact=call.http)

        def predict(request: BaseRequest, deadline: Deadline) -> list[Prediction]:
            return list(serving.predictor.predict(request, deadline))

        timings: dict[str, float] = {}
        extra: dict[str, Any] = {}
        with _telemetry.measure(timings, "predict"):
            if shard:
                predictions, failed = shard.predict(predict, deadline)
                extra = {"failed": failed, "attempt": call.attempt or 0}
                predictions = list(inline.collect(predictions))
            else:
                predictions = list(inline.collect(serving.predictor.predict(request, deadline)))
        if shard:
            extra["predict_ms"] = timings["predict"]
        if truncated := sum(prediction.truncated for prediction in predictions):
            extra["truncated"] = truncated
            _telemetry.count("Truncated", truncated)
        model, digest = serving.manifest, (shard or request).digest()
        origin = Origin(name, digest, model.name, serving.version, model.engine, extra)
        response = None
        if inline.fits:
            response = call.answer(200, _describe_inline(inline, origin, timings))
            inline.check_size(len(json.dumps(response)))
        if response is None or not inline.fits:
            with _telemetry.measure(timings, "store"):
                store = ResultStore.from_environment()
                body = _within(deadline, lambda: store.write(origin, predictions))
            response = call.answer(200, body | {"timings_ms": timings})
        self._measure(predictions, timings)
        return response

    @staticmethod
    def _measure(predictions: list[Prediction], timings: dict[str, float]) -> None:
        _telemetry.count("Items", len(predictions))
        for name in {name for prediction in predictions for name in prediction.counts}:
            _telemetry.count(name, sum(prediction.counts.get(name, 0) for prediction in predictions))
        for name, milliseconds in timings.items():
            _telemetry.record_duration(name.capitalize(), milliseconds)
        _telemetry.log("answered", items=len(predictions), **timings)


def _within(deadline: Deadline, store: Callable[[], T]) -> T:
    """Return what a function of S3 returns, or raise Unavailable shortly before the function's timeout.

    It goes on then. A result is written once, so whoever asks again finds it, or has it written.
    """
    return BackgroundTask(lambda _: store()).result(deadline.remaining_to_store())


def _describe_inline(inline: InlineRecords, origin: Origin, timings: dict[str, float]) -> dict[str, Any]:
    """Return the body of an inline answer."""
    return {
        "predictions": inline.records,
        "count": len(inline.records),
        "model": {"name": origin.model, "version": origin.version},
        "engine": origin.engine,
        **origin.extra,
        "timings_ms": timings,
    }


def _respond_to_fault(call: Call, fault: Fault, *, raise_all: bool) -> dict[str, Any]:
    """Return the response of a fault, or raise it where the caller retries only what fails.

    Callers over HTTP and queues always get a response. Any other caller gets server faults raised, because
    Lambda, Step Functions and SQS retry only functions that fail, and client faults as it asks for.

    Args:
        call: the call that failed.
        fault: the fault.
        raise_all: whether client faults are raised, too.

    """
    server_fault = fault.status >= 500  # noqa: PLR2004
    _telemetry.count("Failed" if server_fault else "Rejected")
    message = {"message_id": call.message_id} if call.message_id else {}
    # The messages of other faults quote what a request held.
    reason = {"reason": fault.message} if server_fault or isinstance(fault, ForeignEvent) else {}
    _telemetry.warn("not answered", status=fault.status, code=fault.code, **reason, **message)
    response = call.answer(fault.status, fault.body())
    if call.http or call.message_id or not (server_fault or raise_all):
        return response
    # The message is the response. Lambda reports the class's name, which is to be the code.
    public = next(kind for kind in type(fault).__mro__ if kind.__name__ == fault.code)
    raise public(json.dumps(response)) from None
