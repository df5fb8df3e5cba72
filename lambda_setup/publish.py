"""``model publish``: a model's folder into the bucket that functions read."""

import argparse

from lambda_setup import models
from lambda_setup.aws import explained, identity, stack_output


def run(options: argparse.Namespace) -> int:
    """Upload a model and point a channel to it."""
    import boto3
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    manifest = models.describe(options.folder)
    bucket = options.bucket or stack_output(options.stack, "ModelBucketName")
    size = sum(file.size for file in manifest.files)
    print(f"model    {manifest.name}, engine {manifest.engine}, {manifest.precision}, {size:,} bytes")
    print(f"version  {manifest.version}")
    print(f"to       s3://{bucket}/models/{manifest.name}/, channel {options.channel}")
    if options.dry_run:
        for call in models.calls(manifest, bucket, options.channel):
            print(f"would    {call}")
        return 0
    with (
        explained(f"s3://{bucket}"),
        Progress(
            "{task.description}",
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        ) as bar,
    ):
        task = bar.add_task("uploading", total=size)
        uploaded = models.publish(
            options.folder,
            boto3.client("s3"),
            bucket,
            options.channel,
            progress=lambda count: bar.advance(task, count),
            by=identity(),
        )
    print("done     a function on this channel takes it up when it starts next" if uploaded else
          "done     the version was there already; the channel points to it")  # fmt: skip
    return 0
