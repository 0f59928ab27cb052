"""aiobotocore and asyncpg on their defaults: sixteen workers, batches of ten for both sides."""

import asyncio
import os

import asyncpg
import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from types_aiobotocore_sqs import SQSClient

from benchmarks.peers.masks import Masker

_WORKERS = 16
_INSERT = """
    INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale,
        app_version, create_date)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def work(
    sqs: SQSClient, pool: "asyncpg.Pool[asyncpg.Record]", masker: Masker, queue_url: str
) -> None:
    """Receive, insert, delete."""
    while True:
        answer = await sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        messages = answer.get("Messages", [])
        if not messages:
            continue
        rows = [masker.row(message["Body"]) for message in messages]
        await pool.executemany(_INSERT, rows)
        await sqs.delete_message_batch(
            QueueUrl=queue_url,
            Entries=[
                {"Id": str(position), "ReceiptHandle": message["ReceiptHandle"]}
                for position, message in enumerate(messages)
            ],
        )


async def main() -> None:
    """Consume until SIGTERM."""
    masker, queue_url = Masker(), os.environ["PEER_QUEUE_URL"]
    pool = asyncpg.create_pool(os.environ["PEER_DSN"], min_size=4, max_size=4)
    # With fewer connections than workers, open polls let deletes wait for ever.
    client = get_session().create_client(
        "sqs",
        endpoint_url=os.environ["PEER_ENDPOINT_URL"],
        config=AioConfig(max_pool_connections=2 * _WORKERS),
    )
    async with pool, client as sqs, asyncio.TaskGroup() as workers:
        for _ in range(_WORKERS):
            workers.create_task(work(sqs, pool, masker, queue_url))


if __name__ == "__main__":
    uvloop.run(main())
