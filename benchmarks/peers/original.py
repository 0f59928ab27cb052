"""The shape of the feed's first pipeline: receive one, delete it, and at the end CSV and COPY.

What it has deleted and not copied yet is lost when it dies.
"""

import csv
import io
import os

import boto3
import psycopg

from benchmarks.peers.masks import Masker, Row

_COPY = (
    "COPY user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version,"
    " create_date) FROM STDIN WITH (FORMAT csv)"
)


def copy(dsn: str, rows: list[Row]) -> None:
    """Write the rows by way of CSV."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    with psycopg.connect(dsn) as connection, connection.cursor().copy(_COPY) as writing:
        writing.write(text.getvalue())


def main() -> None:
    """Consume until SIGTERM."""
    queue_url = os.environ["PEER_QUEUE_URL"]
    sqs = boto3.client("sqs", endpoint_url=os.environ["PEER_ENDPOINT_URL"])
    masker = Masker()
    rows: list[Row] = []
    while True:
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            rows.append(masker.row(message["Body"]))
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        if rows and not answer.get("Messages"):
            copy(os.environ["PEER_DSN"], rows)
            rows = []


if __name__ == "__main__":
    main()
