// Serves the POST of a route handler on a free port, as Next.js does: node route_server.mjs ROUTE
import { createServer } from "node:http";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { POST } = await import(pathToFileURL(resolve(process.argv[2])));

const server = createServer(async (incoming, outgoing) => {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const url = `http://${incoming.headers.host}${incoming.url}`;
  const body = Buffer.concat(chunks);
  const answer = await POST(new Request(url, { method: incoming.method, headers: incoming.headers, body }));
  outgoing.writeHead(answer.status, Object.fromEntries(answer.headers));
  outgoing.end(Buffer.from(await answer.arrayBuffer()));
});

server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}/hook`));
