"""Amazon SQS: the source that the pipeline reads, and the clients under it."""
