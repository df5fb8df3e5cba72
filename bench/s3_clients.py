"""The time of making an S3 client in a cold start: boto3 against obstore.

Run: ``.venv/bin/python -m bench.s3_clients``. Each repetition is a fresh interpreter that imports a
client and connects it to a bucket; the two take turns, and the medians' ratio is printed.
"""

import statistics
import subprocess
import sys

REPETITIONS = 9
CLIENTS = {
    "boto3": "import boto3; boto3.client('s3', region_name='us-east-1')",
    "obstore": "import obstore; from obstore.store import S3Store; S3Store('bucket', region='us-east-1')",
}


def seconds(statement: str) -> float:
    """Return how long a statement takes in a fresh interpreter."""
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the ratio of the medians, and each client's spread."""
    times: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(REPETITIONS):
        for name, statement in CLIENTS.items():
            times[name].append(seconds(statement))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"boto3 takes {medians['boto3'] / medians['obstore']:.1f} times as long as obstore")
    for name, values in times.items():
        low, high = min(values) / medians[name], max(values) / medians[name]
        print(f"{name}: {len(values)} runs between {low:.2f} and {high:.2f} of its median")


if __name__ == "__main__":
    main()
