"""Amazon SQS: the queue's client, its facts, and the source that the pipeline reads."""
