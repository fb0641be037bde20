// A webhook receiver with Express.
// npm install express standardwebhooks
// WEBHOOK_SECRET=whsec_... node express_receiver.mjs
import express from "express";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

// Forgotten at a restart. In production: a table of your database whose primary key is the webhook-id, filled with
// INSERT ... ON CONFLICT DO NOTHING in the transaction that stores the work to be done, and the sequence beside it.
const seen = new Set();
const sequences = new Map();

const app = express();

// express.raw, not express.json: the signature is over the bytes as they came.
app.post("/hook", express.raw({ type: "*/*" }), (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch {
    return response.status(400).end();
  }
  response.status(204).end();
  if (isNews(request.get("webhook-id"), event)) work(event).catch(console.error);
});

function isNews(id, { type, data }) {
  // Types that you don't know are none of your business: new ones may come. Answer 2xx to them.
  if (!["training.ready", "training.deleted"].includes(type)) return false;
  if (seen.has(id)) return false;
  seen.add(id);
  if (data.sequence <= (sequences.get(data.id) ?? 0)) return false; // older than what we have
  sequences.set(data.id, data.sequence);
  return true;
}

// What takes its time: mail, downloads.
async function work({ type, data }) {
  console.log("handled", type, data.id, data.sequence);
}

const server = app.listen(process.env.PORT ?? 3000, "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`listening on http://127.0.0.1:${server.address().port}/hook`);
});
