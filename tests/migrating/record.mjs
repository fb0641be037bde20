// `node --import record.mjs PROGRAM ARGUMENTS...`: notes in the file $RECORD each answer that the program's fetch gets.
import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";

const fetchIt = globalThis.fetch;

globalThis.fetch = async (url, options = {}) => {
  const answer = await fetchIt(url, options);
  const bytes = Buffer.from(await answer.clone().arrayBuffer());
  const headers = Object.fromEntries(answer.headers);
  const noted = {
    method: options.method ?? "GET",
    url: String(url),
    status: answer.status,
    headers,
    text: (headers["content-type"] ?? "").includes("json") ? bytes.toString("utf-8") : null,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
  appendFileSync(process.env.RECORD, JSON.stringify(noted) + "\n");
  return answer;
};
