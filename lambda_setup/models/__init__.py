"""Models on their way into a bucket, and what is done with them there."""
