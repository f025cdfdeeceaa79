/** A header that applications read otherwise than policy does: a second line, a list, another spelling of the name (law 14). */
import { connect } from "node:net";
import t from "tap";
import { Peer } from "../../../support/hostile/grammar-http1-listeners.ts";
import {
  missingFor,
  startFramework,
  type Framework,
} from "../../../support/processes/frameworks.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";
import { needs } from "../../../support/processes/tools.ts";

const forOrders = { selector: { matchLabels: { app: "orders" } } };
const policy = (
  name: string,
  action: string,
  path: string,
  test: Record<string, readonly string[]>,
): ReturnType<typeof resource> =>
  resource("AuthorizationPolicy", name, {
    ...forOrders,
    action,
    rules: [
      {
        to: [{ operation: { paths: [path] } }],
        when: [{ key: "request.headers[X-Role]", ...test }],
      },
    ],
  });

const RESOURCES = [
  resource("PeerAuthentication", "open", {
    ...forOrders,
    mtls: { mode: "PERMISSIVE" },
  }),
  // Each path has a rule of its own.
  policy("no-guests", "DENY", "/no-guests", { values: ["guest"] }),
  policy("not-staff", "DENY", "/staff-alone", { notValues: ["staff*"] }),
  policy("some", "ALLOW", "/staff", { values: ["staff*"] }),
  policy("others", "ALLOW", "/others", { notValues: ["guest"] }),
  resource("AuthorizationPolicy", "rest", {
    ...forOrders,
    rules: [{ to: [{ operation: { paths: ["/no-guests", "/staff-alone"] } }] }],
  }),
];

/** What the application may take its caller for, whatever it reads. */
const MAY_BE: Readonly<Record<string, (role: string | undefined) => boolean>> =
  {
    "/no-guests": (role) => role !== "guest",
    "/staff-alone": (role) => role?.startsWith("staff") === true,
    "/staff": (role) => role?.startsWith("staff") === true,
    "/others": (role) => role !== "guest",
  };

/** Header lines of requests, each of which some application reads as it alone does. */
const SPELLINGS: readonly (readonly string[])[] = [
  ["X-Role: guest", "X-Role: staff"],
  ["X-Role: staff", "X-Role: guest"],
  ["X-Role: guest", "X-Role:"],
  ["X-Role:", "X-Role: guest"],
  ["X-Role:", "X-Role: staff"],
  ["X-Role: guest,"],
  ["X-Role: , guest"],
  ["X_Role: guest"],
  ["x-role: staff", "X_Role: guest"],
  ["X.Role: guest"],
  ["x-role: staff", "x.role: guest"],
];

async function send(
  pair: Pair,
  path: string,
  lines: readonly string[],
): Promise<number> {
  const [port = 0] = pair.callee.ports.published.values();
  const peer = new Peer(connect(port, "127.0.0.1"));
  peer.send(
    [`GET ${path} HTTP/1.1`, "Host: orders.shop", ...lines, "", ""].join(
      "\r\n",
    ),
  );
  await until(() => peer.ended || peer.received.includes("\r\n\r\n"));
  peer.socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+)/.exec(peer.received)?.[1] ?? 0);
}

const APPLICATIONS: readonly Framework[] = [
  ...(["go", "wsgiref", "php", "express", "flask"] as const),
];

for (const framework of APPLICATIONS)
  void t.test(
    `${framework}: it reads no header that policy has read otherwise`,
    { ...needs(missingFor(framework)), timeout: 60_000 },
    async (t) => {
      const application = await startFramework(framework);
      try {
        await withPair(
          {
            rawApp: () => application.accept,
            calleePublish: true,
            resources: RESOURCES,
          },
          async (pair) => {
            t.equal(await send(pair, "/staff", ["X-Role: staff"]), 200);
            t.equal(await send(pair, "/no-guests", []), 200, "without one");
            t.strictSame(application.roles, ["staff"], "the ordinary passes");
            for (const [path, mayBe] of Object.entries(MAY_BE))
              for (const lines of SPELLINGS) {
                const before = application.roles.length;
                const status = await send(pair, path, lines);
                const name = `${path} with ${lines.join(" and ")}`;
                const role = application.roles[before];
                t.ok(
                  [400, 403].includes(status) || mayBe(role),
                  `${name}: ${status}, read as ${JSON.stringify(role)}`,
                );
              }
          },
        );
      } finally {
        await application.stop();
      }
    },
  );
