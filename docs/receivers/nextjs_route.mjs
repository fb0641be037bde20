// A webhook receiver as a Next.js route handler: save it as app/hook/route.js; the URL is then /hook.
// npm install standardwebhooks, and WEBHOOK_SECRET=whsec_... in .env.local
import { Webhook } from "standardwebhooks";

// Forgotten at a restart, and each serverless instance has its own. In production: a table of your database whose
// primary key is the webhook-id, filled with INSERT ... ON CONFLICT DO NOTHING, and the sequence beside it.
const seen = new Set();
const sequences = new Map();

export async function POST(request) {
  let event;
  try {
    const webhook = new Webhook(process.env.WEBHOOK_SECRET); // in here: the secret is not there during `next build`
    const body = await request.text(); // not request.json(): the signature is over the body as it came
    event = webhook.verify(body, Object.fromEntries(request.headers));
  } catch {
    return new Response(null, { status: 400 });
  }
  // On serverless hosts write `after(() => work(event))`, from "next/server": they stop what runs on after the answer.
  if (isNews(request.headers.get("webhook-id"), event)) work(event).catch(console.error);
  return new Response(null, { status: 204 });
}

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
