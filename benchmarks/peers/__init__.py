"""Other ways to do the consumer's job, each as its users would write it; run as modules.

All take their queue, database and key from PEER_QUEUE_URL, PEER_ENDPOINT_URL, PEER_DSN and
PEER_KEY, mask both fields, and run until SIGTERM. None of them keeps the consumer's promises.
"""
