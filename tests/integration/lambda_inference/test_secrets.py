"""Credentials stay where Lambda puts them: in the environment."""

from support.events import case


def test_nothing_that_a_function_writes_holds_its_key(stack, function, function_log):
    """Neither a file, nor its log, nor an answer or an object, whether S3 takes the key or not."""
    secret = stack.s3.secret_key
    answers = [function.invoke(case(name).event) for name in ("valid/minimal", "valid/inline")]
    with stack.function(env={"AWS_SECRET_ACCESS_KEY": secret[::-1]}) as refused:
        answers.append(refused.invoke(case("valid/minimal").event))
    files = [path for path in stack.temporary.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in [*files, function_log])
    result = stack.client.get_object(Bucket="results", Key=answers[0]["body"]["s3_key"])
    for key in (secret, secret[::-1]):
        assert key not in f"{answers} {result['Metadata']}"
        assert key.encode() not in written
        assert key.encode() not in result["Body"].read()
