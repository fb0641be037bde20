// Reads signed webhooks as JSON lines {secret, id, timestamp, signature, body} and answers each with a line
// {id, ok, problem}: whether the reference library for JavaScript accepts it, and if not, why.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

function problemWith({ secret, id, timestamp, signature, body }) {
  try {
    const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
    new Webhook(secret).verify(body, headers);
    return null;
  } catch (error) {
    return error.message;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  const problem = problemWith(message);
  console.log(JSON.stringify({ id: message.id, ok: problem === null, problem }));
}
