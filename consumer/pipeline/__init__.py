"""The way from the queue to the commit to the delete."""
