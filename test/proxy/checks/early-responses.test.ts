/** What an HTTP provider says before it has read the question counts, also where it breaks off at once. */
import { createServer } from "node:net";
import t, { type Test } from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import type {
  Answer,
  Asked,
} from "../../../src/proxy/checks/providers/answer.ts";
import { ProviderClients } from "../../../src/proxy/checks/providers/clients.ts";
import { providersOf } from "../../../src/resources/mesh/providers.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";
import { scriptedStream } from "../../support/checks/scripted-stream.ts";
import { listening } from "../../support/meshes/pair.ts";

/** More than a socket takes in one go. */
const BODY = Buffer.alloc(8_000_000);

/** What becomes of a question whose provider says `text` to whoever comes, reads nothing, and leaves: what is written to it then is reset. */
async function answerTo(t: Test, text: string): Promise<Answer> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.pause();
    socket.write(text, () => socket.destroy());
  });
  t.teardown(() => server.close());
  const address = `127.0.0.1:${await listening(server)}`;
  const [provider] = providersOf([{ name: "opa", http: { address } }]);
  if (provider === undefined) throw new Error("there is no provider");
  const clients = new ProviderClients(watchSource(undefined), fakeClock());
  t.teardown(() => clients.close());
  const asked = {
    ...{ stream: scriptedStream({}, {}, true), read: { target: "/" } },
    ...{ self: "", port: 1, wall: 0, body: BODY, partial: false },
  };
  return new Promise((resolve) =>
    clients.of(provider).ask(asked as unknown as Asked, resolve),
  );
}

void t.test("an early response is heard before its reset", async (t) => {
  const page = "content-length: 2\r\n\r\n";
  const rows: readonly (readonly [text: string, answer: object])[] = [
    [`403 Forbidden\r\n${page}no`, { kind: "denied", status: 403 }],
    [`413 Too Large\r\nconnection: close\r\n${page}no`, { status: 413 }],
    [`403 Forbidden\r\n${page}`, { kind: "denied", status: 403 }],
    [`503 Busy\r\n${page}no`, { kind: "failed", why: "status 503" }],
    // Its status line says no, whatever is cut off behind it.
    ["403 Forb", { kind: "denied", status: 403 }],
    ["40", { kind: "failed" }],
  ];
  for (const [text, answer] of rows)
    t.match(await answerTo(t, `HTTP/1.1 ${text}`), answer, text);
  t.match(await answerTo(t, ""), { kind: "failed" }, "nothing but a reset");
});
