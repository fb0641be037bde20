// Train a model and be told when it is ready: the gateway's own route.
import { randomUUID } from "node:crypto";

const GATEWAY = process.env.GATEWAY_URL ?? "http://127.0.0.1:8470";
const headers = { Authorization: `Bearer ${process.env.PHOTOGPT_API_KEY}`, "Content-Type": "application/json" };
const CALLBACK_URL = process.env.CALLBACK_URL ?? "http://127.0.0.1:3000/hook";

async function train(modelId, requestId) {
  const response = await fetch(`${GATEWAY}/v1/trainings`, {
    method: "POST",
    headers: { ...headers, "Idempotency-Key": requestId }, // the same one when you try again
    body: JSON.stringify({ model_id: modelId, callback_url: CALLBACK_URL, metadata: { user: "42" } }),
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()).id;
}

console.log(await train(process.argv[2], randomUUID()));
