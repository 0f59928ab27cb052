"""boto3 and psycopg as in most tutorials: ten a receive; insert, commit, delete one by one."""

import os

import boto3
import psycopg

from benchmarks.peers.masks import Masker

_INSERT = """
    INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale,
        app_version, create_date)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


def main() -> None:
    """Consume until SIGTERM."""
    queue_url = os.environ["PEER_QUEUE_URL"]
    sqs = boto3.client("sqs", endpoint_url=os.environ["PEER_ENDPOINT_URL"])
    masker = Masker()
    with psycopg.connect(os.environ["PEER_DSN"]) as connection:
        while True:
            answer = sqs.receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )
            for message in answer.get("Messages", []):
                connection.execute(_INSERT, masker.row(message["Body"]))
                connection.commit()
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
