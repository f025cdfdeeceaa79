/** A web page, a form, a rebound name and another user of the machine pull at the sidecar's admin port: nothing moves, and to whoever brings the token everything does. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import {
  call,
  closeCalls,
  eventually,
  type Called,
} from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

const sidecar = await startLoneSidecar((_request, response) =>
  response.end("ok"),
);
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

const ask = (
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<Called> =>
  call(`http://127.0.0.1:${sidecar.admin}${path}`, { method, headers });
const level = async (): Promise<unknown> =>
  JSON.parse((await ask("GET", "/logging")).text);

/** As browsers send them: no page can leave these fields out. */
const FORM = { "content-type": "application/x-www-form-urlencoded" };
const PAGES: readonly (readonly [string, Record<string, string>])[] = [
  [
    "a form of another site",
    { ...FORM, origin: "https://evil.example", "sec-fetch-site": "cross-site" },
  ],
  ["a form of a browser without Fetch Metadata", { ...FORM, origin: "null" }],
  [
    "a page of another port of this machine",
    { origin: "http://127.0.0.1:8080", "sec-fetch-site": "same-site" },
  ],
  ["an image of another site", { "sec-fetch-site": "cross-site" }],
  [
    "a page whose name was rebound to this machine",
    {
      host: `rebound.example:${sidecar.admin}`,
      origin: `http://rebound.example:${sidecar.admin}`,
      "sec-fetch-site": "same-origin",
    },
  ],
];
const LEVERS = ["/logging?level=silent", "/drain", "/quit"] as const;

for (const [who, headers] of PAGES) {
  void t.test(`${who} moves no lever`, async (t) => {
    for (const lever of LEVERS)
      t.equal((await ask("POST", lever, headers)).status, 403, lever);
    t.strictSame(await level(), { level: "info" });
    t.equal((await ask("GET", "/readyz")).status, 200);
  });
  void t.test(`${who} reads nothing`, async (t) => {
    for (const page of ["/config", "/certs", "/clusters", "/stats"])
      t.equal((await ask("GET", page, headers)).status, 403, page);
  });
}

void t.test("another user of this machine moves no lever", async (t) => {
  for (const lever of LEVERS)
    for (const headers of [
      {},
      { authorization: "Bearer guess" },
      { authorization: `Bearer ${"x".repeat(43)}` },
    ] as Record<string, string>[]) {
      const refused = await ask("POST", lever, headers);
      t.equal(refused.status, 401, lever);
      t.match(refused.headers["www-authenticate"], /^Bearer/);
    }
  t.strictSame(await level(), { level: "info" });
});

void t.test("other methods are no way around", async (t) => {
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"])
    for (const lever of LEVERS) await ask(method, lever);
  t.equal((await ask("GET", "/drain")).status, 404);
  t.equal((await ask("GET", "/readyz")).status, 200);
  t.strictSame(await level(), { level: "info" });
});

void t.test("no answer lets another site read it", async (t) => {
  const { headers } = await ask("OPTIONS", "/config", {
    origin: "https://evil.example",
    "access-control-request-method": "POST",
  });
  for (const name of Object.keys(headers)) t.notMatch(name, /^access-control-/);
});

void t.test("the token, which others cannot read, moves them", async (t) => {
  const file = join(sidecar.directory, "state", "sidecar-admin.token");
  t.equal((await stat(file)).mode & 0o777, 0o600);
  const authorization = `Bearer ${(await readFile(file, "utf8")).trim()}`;
  t.equal(
    (await ask("POST", "/logging?level=debug", { authorization })).status,
    200,
  );
  t.strictSame(await level(), { level: "debug" });
  t.equal(
    (
      await ask("POST", "/logging?level=silent", {
        authorization,
        origin: "https://evil.example",
      })
    ).status,
    403,
    "not even a page that has it",
  );
  t.equal((await ask("POST", "/drain", { authorization })).status, 202);
  await eventually(
    "it drains",
    10_000,
    () => ask("GET", "/readyz"),
    ({ status }) => status !== 200,
  );
});

void t.test(
  "a sidecar that can keep no token serves, and nobody moves its levers",
  async (t) => {
    const other = await startLoneSidecar(
      (_request, response) => response.end("ok"),
      ["--state", "/proc/nowhere"],
    );
    t.teardown(() => other.stop());
    const { status, text } = await call(
      `http://127.0.0.1:${other.admin}/drain`,
      { method: "POST", headers: { authorization: "Bearer guess" } },
    );
    t.equal(status, 401);
    t.match(text, /could not make its token/);
    t.match(other.log.join("\n"), /no token for the admin port can be kept/);
    t.equal(
      (
        await call(`http://127.0.0.1:${other.published}/`, {
          headers: { host: "orders.shop" },
        })
      ).status,
      200,
    );
  },
);
