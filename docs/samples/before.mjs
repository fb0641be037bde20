// Train a model and wait until it is ready: the loop of PhotoGPT's documentation.
const BASE_URL = process.env.PHOTOGPT_BASE_URL ?? "https://developer.photogptai.com/api";
const headers = { Authorization: `Bearer ${process.env.PHOTOGPT_API_KEY}`, "API-Version": "1" };
const POLL_MS = 5 * 60 * 1000;
const GIVE_UP_MS = 35 * 60 * 1000;

async function train(modelId) {
  const response = await fetch(`${BASE_URL}/models/${modelId}/train`, { headers });
  if (!response.ok) throw new Error(await response.text());
}

async function waitUntilTrained(modelId) {
  const began = Date.now();
  while (Date.now() - began < GIVE_UP_MS) {
    const response = await fetch(`${BASE_URL}/models/${modelId}`, { headers });
    if (!response.ok) throw new Error(await response.text()); // one bad answer, and nobody waits any more
    const { result } = await response.json();
    const status = String(result.status ?? "").toLowerCase();
    if (status === "ready" || status === "deleted") return status;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS)); // one restart, and nobody waits any more
  }
  throw new Error("not ready yet: check later");
}

await train(process.argv[2]);
console.log(await waitUntilTrained(process.argv[2]));
