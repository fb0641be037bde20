// Reads signed webhooks as JSON lines {public_key, id, timestamp, signature, body} and answers each with a line
// {id, ok, problem}: whether one of its `v1a` signatures is of that `whpk_` key, by Node.js's own ed25519.
import { createPublicKey, verify } from "node:crypto";
import { createInterface } from "node:readline";

// Buffer.from passes over whatever is not base64: only what it would spell the same way again is taken.
function strictly(base64) {
  const bytes = Buffer.from(base64, "base64");
  if (bytes.toString("base64") !== base64) throw new Error("not standard base64");
  return bytes;
}

function problemWith({ public_key, id, timestamp, signature, body }) {
  try {
    if (!public_key.startsWith("whpk_")) throw new Error("not a whpk_ key");
    const x = strictly(public_key.slice("whpk_".length)).toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    const signed = Buffer.from(`${id}.${timestamp}.${body}`);
    const listed = signature.split(" ").map((text) => text.split(","));
    const own = listed.filter(([version]) => version === "v1a");
    if (own.some(([, base64]) => verify(null, signed, key, strictly(base64)))) return null;
    return "no matching signature found";
  } catch (error) {
    return error.message;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  const problem = problemWith(message);
  console.log(JSON.stringify({ id: message.id, ok: problem === null, problem }));
}
