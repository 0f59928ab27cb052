// sqs-consumer and pg: sixteen consumers, batches of ten for both sides; until SIGTERM.
import { createHmac } from "node:crypto";
import { SQSClient } from "@aws-sdk/client-sqs";
import pg from "pg";
import { Consumer } from "sqs-consumer";

const CONSUMERS = 16;
const { PEER_QUEUE_URL, PEER_ENDPOINT_URL, PEER_DSN, PEER_KEY } = process.env;
const COLUMNS = 7;

const sqs = new SQSClient({ endpoint: PEER_ENDPOINT_URL });
const pool = new pg.Pool({ connectionString: PEER_DSN, max: 4 });
const key = Buffer.from(PEER_KEY, "base64");

// Node has no AES-SIV; a MAC costs about as much.
const mask = (value) =>
  value === null ? null : createHmac("sha256", key).update(value).digest("base64url");

function row({ Body }) {
  const login = JSON.parse(Body);
  return [
    login.user_id,
    login.device_type,
    mask(login.ip),
    mask(login.device_id),
    login.locale,
    login.app_version,
    new Date().toISOString().slice(0, 10),
  ];
}

function placeholders(count) {
  const numbers = Array.from({ length: COLUMNS }, (_, column) => column + 1);
  return Array.from(
    { length: count },
    (_, index) => `(${numbers.map((number) => `$${index * COLUMNS + number}`).join(",")})`,
  ).join(",");
}

async function handleMessageBatch(messages) {
  const text = `INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale,
    app_version, create_date) VALUES ${placeholders(messages.length)}`;
  await pool.query({ name: `insert ${messages.length}`, text, values: messages.flatMap(row) });
  return messages;
}

for (let number = 0; number < CONSUMERS; number += 1) {
  const consumer = Consumer.create({
    queueUrl: PEER_QUEUE_URL,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 1,
    handleMessageBatch,
  });
  for (const event of ["error", "processing_error"]) {
    consumer.on(event, (error) => console.error(event, error.message));
  }
  consumer.start();
}
