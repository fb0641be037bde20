// All that PhotoGPT's documentation shows, in one go: from a folder of pictures to a portrait and a video of it.
// Written for PhotoGPT. It runs through the gateway when PHOTOGPT_BASE_URL says so, and is not changed otherwise.
import { readFile, readdir, writeFile } from "node:fs/promises";

const BASE_URL = process.env.PHOTOGPT_BASE_URL ?? "https://developer.photogptai.com/api";
const headers = { Authorization: `Bearer ${process.env.PHOTOGPT_API_KEY}`, "API-Version": "1" };
const TRAINING_POLL_MS = 5 * 60 * 1000;
const JOB_POLL_MS = 5 * 1000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function call(method, path, { json, body } = {}) {
  const response = await fetch(`${BASE_URL}${path}`, {
    method,
    headers: json ? { ...headers, "Content-Type": "application/json" } : headers,
    body: json ? JSON.stringify(json) : body,
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()).result;
}

async function upload(modelId, picture) {
  const form = new FormData();
  form.append("file", new Blob([await readFile(`pictures/${picture}`)]), picture);
  form.append("data", JSON.stringify({ modelID: modelId, type: "modelInput" }));
  await call("POST", "/images/upload", { body: form });
}

async function waitForModel(modelId) {
  for (;;) {
    const status = String((await call("GET", `/models/${modelId}`)).status ?? "").toLowerCase();
    if (status === "ready") return;
    if (status === "deleted") throw new Error("the model was deleted");
    await sleep(TRAINING_POLL_MS);
  }
}

async function waitForJob(jobId) {
  let job = await call("GET", `/jobs/${jobId}`);
  while (["created", "queued", "running"].includes(job.status)) {
    await sleep(JOB_POLL_MS);
    job = await call("GET", `/jobs/${jobId}`);
  }
  if (job.status !== "success") throw new Error(job.error);
  return job;
}

// Files are fetched from where PhotoGPT says, without the key.
async function save(url, name) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(await response.text());
  await writeFile(name, response.body);
}

const model = await call("POST", "/models", { json: { name: "MyModel", age: 25, gender: "Male", eyeColor: "blue" } });
for (const picture of (await readdir("pictures")).sort()) await upload(model.id, picture);
const uploaded = await call("GET", `/models/${model.id}/images?imageType=input`);
console.log(uploaded.length, "pictures");

await call("GET", `/models/${model.id}/train`);
await waitForModel(model.id);
console.log("trained");

const [preset] = await call("GET", "/presets");
const generation = await call("POST", "/images/generation", {
  json: { modelID: model.id, prompt: "a portrait in warm window light", preset: preset.tag, numImages: 2 },
});
const [portrait] = (await waitForJob(generation.jobId)).images;
const upscaling = await call("POST", "/images/upscaling", { json: { imageID: portrait.id } });
const [larger] = (await waitForJob(upscaling.jobId)).images;
await save(larger.url, "portrait.png");

const filming = await call("POST", "/videos/generation", {
  json: {
    modelID: "veo-3.1",
    prompt: "turns and smiles",
    referenceImages: [{ url: larger.url, role: "first_frame" }],
  },
});
const [video] = (await waitForJob(filming.jobId)).videos;
await call("GET", `/videos/${video.id}/create-download`);
let download = await call("GET", `/videos/${video.id}/download`);
while (download.status !== "ready") {
  await sleep(JOB_POLL_MS);
  download = await call("GET", `/videos/${video.id}/download`);
}
await save(download.url, "video.mp4");
console.log("done");
