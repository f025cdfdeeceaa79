/** Law 9 of the API: every reason of its table is given, with its status; `rig` looks after the refusals of all other tests. */
import { connect } from "node:net";
import t from "tap";
import {
  API_REASONS,
  type ApiReason,
} from "../../../src/control-plane/api/errors.ts";
import { startApi } from "../../../src/control-plane/api/server.ts";
import {
  rig,
  service,
  SHOP,
  type Answer,
  type Rig,
} from "../../support/control-plane/api.ts";

const PATH = `${SHOP}/services/a`;

const REFUSED: Readonly<
  Partial<Record<ApiReason, (rig: Rig) => Promise<Answer>>>
> = {
  BadRequest: ({ call }) => call("PUT", PATH, "{"),
  Unauthorized: ({ call }) =>
    call("GET", PATH, undefined, { authorization: "Bearer none" }),
  Forbidden: async ({ call, as }) =>
    call("PUT", PATH, service("a"), await as("viewer")),
  NotFound: ({ call }) => call("GET", PATH),
  MethodNotAllowed: ({ call }) => call("POST", PATH, service("a")),
  AlreadyExists: async ({ call }) => {
    await call("POST", `${SHOP}/services`, service("a"));
    return call("POST", `${SHOP}/services`, service("a"));
  },
  Conflict: async ({ call }) => {
    await call("PUT", PATH, service("a"));
    return call("PUT", PATH, service("a", { resourceVersion: "1" }));
  },
  RequestEntityTooLarge: ({ call }) =>
    call("PUT", PATH, `"${"x".repeat(2 * 1024 * 1024)}"`),
  UnsupportedMediaType: ({ call }) =>
    call("PUT", PATH, "{}", { "content-type": "text/plain" }),
  Invalid: ({ call }) => call("PUT", PATH, { ...service("a"), kind: "Mesh" }),
  InternalError: ({ call, options }) => {
    options.push.instances = () => {
      throw new TypeError("a defect");
    };
    return call("GET", "/status");
  },
  TooManyRequests: ({ call, world }) => {
    world.late = 60_000;
    return call("GET", PATH);
  },
  ServiceUnavailable: async ({ call, store }) => {
    await store.close();
    return call("GET", PATH);
  },
};

for (const [reason, refused] of Object.entries(REFUSED))
  void t.test(`law 9: ${reason}`, async (t) => {
    const { code, body } = await refused(await rig(t));
    t.match(body, { kind: "Status", status: "Failure", reason, code });
    t.equal(code, codeOf(reason));
  });

void t.test("law 9: Expired, where the history is short", async (t) => {
  const { call } = await rig(t, { history: { rows: 1, bytes: 1e6 } });
  for (const name of ["a", "b", "c"])
    await call("PUT", `${SHOP}/services/${name}`, service(name));
  const { body } = await call(
    "GET",
    `${SHOP}/services?watch=1&resourceVersion=1`,
  );
  t.match(body, { reason: "Expired", code: codeOf("Expired") });
});

void t.test("law 9: what cannot be read, and what does not come", async (t) => {
  const { options } = await rig(t);
  const running = await startApi(options, { host: "127.0.0.1", port: 0 });
  t.teardown(() => running.close());
  for (const [reason, text] of [
    ["BadRequest", "GET / HTTP/1.1\r\nno field\r\n\r\n"],
    [
      "RequestHeaderFieldsTooLarge",
      `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(20_000)}\r\n\r\n`,
    ],
  ] as const) {
    const socket = connect(Number(new URL(running.url).port), "127.0.0.1");
    socket.end(text);
    let answer = "";
    for await (const chunk of socket) answer += String(chunk);
    t.match(
      answer,
      new RegExp(`^HTTP/1\\.1 ${codeOf(reason)} [^]*"reason":"${reason}"`),
    );
  }
  t.same(
    [
      ...Object.keys(REFUSED),
      "Expired",
      "RequestHeaderFieldsTooLarge",
      // Node looks for slow requests every half a minute.
      "RequestTimeout",
    ].sort(),
    Object.keys(API_REASONS).sort(),
    "these are all",
  );
});

function codeOf(reason: string): number | undefined {
  return Object.entries(API_REASONS).find(([name]) => name === reason)?.[1]
    .status;
}
