// Train a model and be told when it is ready: PhotoGPT's own route, by way of the gateway.
const BASE_URL = process.env.PHOTOGPT_BASE_URL ?? "http://127.0.0.1:8470/api";
const headers = { Authorization: `Bearer ${process.env.PHOTOGPT_API_KEY}`, "API-Version": "1" };
const CALLBACK_URL = process.env.CALLBACK_URL ?? "http://127.0.0.1:3000/hook";

async function train(modelId) {
  const response = await fetch(`${BASE_URL}/models/${modelId}/train`, {
    headers: { ...headers, "Callback-Url": CALLBACK_URL },
  });
  if (!response.ok) throw new Error(await response.text());
  return response.headers.get("Training-Id");
}

console.log(await train(process.argv[2]));
