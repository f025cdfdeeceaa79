/** Law 5 and the refusals at the link, at the port for captured calls and for misdirected streams: each with its counter and its log line. */
import { connect as connectTcp, type Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import t from "tap";
import { systemClock } from "../../src/core/clock.ts";
import { watchSource } from "../../src/core/watch.ts";
import type { Credentials } from "../../src/identity/credentials.ts";
import { compileSnapshot } from "../../src/policy/compile/compile.ts";
import { poolSettingsOf } from "../../src/proxy/upstream/cluster/places.ts";
import {
  makePools,
  type HostPort,
} from "../../src/proxy/upstream/pool/pools.ts";
import { TRAFFIC_DEFAULTS } from "../../src/resources/traffic-policy/settings.ts";
import {
  fakeAuthority,
  type IssueOptions,
} from "../support/certificates/certificate-authority.ts";
import { stranger } from "../support/peers/link.ts";
import { resource, until, withPair } from "../support/meshes/pair.ts";
import { ask, keptLog, link } from "../support/laws/harness.ts";

const HOUR = 3_600_000;

/** Waits for the end of a socket, reading what comes. */
function ended(socket: Socket): Promise<void> {
  socket.on("error", () => undefined);
  socket.on("end", () => socket.end());
  socket.resume();
  return new Promise((resolve) => socket.on("close", () => resolve()));
}

void t.test(
  "every refusal at the link has a counter and a log line that says why",
  async (t) => {
    const { logger, lines } = keptLog();
    await withPair({ callee: { logger } }, async (pair) => {
      const { authority } = pair;
      const elsewhere = fakeAuthority({ trustDomain: "elsewhere.test" });
      const impostor = fakeAuthority();
      const now = Date.now();
      const ours = (options: IssueOptions): ConnectionOptions => {
        const pems = authority.issue(options);
        return {
          cert: pems.certificateChain,
          key: pems.privateKey,
          ca: authority.bundle,
        };
      };
      const theirs = (from: typeof impostor): ConnectionOptions => {
        const pems = from.issue();
        return {
          cert: pems.certificateChain,
          key: pems.privateKey,
          ca: authority.bundle,
        };
      };
      const rows: readonly (readonly [string, ConnectionOptions])[] = [
        ["no certificate", { ca: authority.bundle }],
        [
          "foreign trust domain",
          ours({ id: "spiffe://elsewhere.test/ns/shop/sa/web" }),
        ],
        ["untrusted issuer", theirs(elsewhere)],
        ["untrusted issuer", theirs(impostor)],
        ["expired", ours({ notBefore: now - HOUR, notAfter: now - 60_000 })],
        [
          "not yet valid",
          ours({ notBefore: now + HOUR, notAfter: now + 2 * HOUR }),
        ],
        ["no URI SAN", ours({ id: null })],
        [
          "several URI SANs",
          ours({ id: [authority.id("web"), authority.id("orders")] }),
        ],
        ["not a SPIFFE ID", ours({ id: "https://cluster.local/web" })],
        ["CA certificate", ours({ ca: true })],
        ["handshake failed", { ...ours({}), maxVersion: "TLSv1.2" }],
        ["no protocol in common", { ...ours({}), ALPNProtocols: [] }],
      ];
      const port = pair.callee.ports.link ?? 0;
      const counts = new Map<string, number>();
      for (const [reason, options] of rows) {
        counts.set(reason, (counts.get(reason) ?? 0) + 1);
        const { received } = await stranger(port, options);
        t.equal(received.length, 0, `${reason}: nothing is said`);
        await until(
          () =>
            lines.filter((line) => line["reason"] === reason).length ===
            counts.get(reason),
        );
      }
      const plain = connectTcp(port, "127.0.0.1");
      plain.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
      await ended(plain);
      counts.set("plaintext", 1);
      for (const [reason, count] of counts) {
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_refusals_total",
            'listener="link"',
            `reason="${reason}"`,
          ),
          count,
          `${reason}: counted`,
        );
        t.match(
          lines.find((line) => line["reason"] === reason),
          {
            msg: "connection refused",
            listener: "link",
            detail: /./,
            remoteAddress: /127\.0\.0\.1$/,
            remotePort: /^[0-9]+$/,
          },
          `${reason}: told`,
        );
      }
      t.same(pair.log, [], "and none of it became a request");
      t.equal((await pair.call()).status, 200, "a true peer is served");
    });
  },
);

void t.test(
  "a connection to 15006 that was not captured has a counter and a log line",
  async (t) => {
    const { logger, lines } = keptLog();
    await withPair({ callee: { logger } }, async (pair) => {
      const socket = connectTcp(pair.callee.ports.inbound ?? 0, "127.0.0.1");
      socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
      await ended(socket);
      t.equal(
        await pair.metric(
          pair.callee,
          "wherry_refusals_total",
          'listener="captured"',
          'reason="not captured"',
        ),
        1,
      );
      t.match(
        lines.find((line) => line["listener"] === "captured"),
        { reason: "not captured", detail: /packet rule/ },
      );
    });
  },
);

void t.test(
  "a stream to an undeclared port is a 421 with a counter and a log line, also where only errors are logged",
  async (t) => {
    const lines: string[] = [];
    await withPair(
      {
        callee: {
          accessLog: "errors",
          writeAccessLog: (line) => lines.push(line),
        },
      },
      async (pair) => {
        // The caller believes in a port that the callee does not declare.
        const belief = resource("Service", "orders", {
          ports: [{ name: "other", port: 81, targetPort: 8081 }],
          selector: { app: "orders" },
        });
        const { value: snapshot } = pair.callerAgent.snapshot;
        if (snapshot === undefined) throw new Error("no snapshot");
        pair.callerAgent.snapshot.set(
          compileSnapshot(
            [
              belief,
              resource(
                "Workload",
                "orders-1",
                {
                  address: "127.0.0.1",
                  ports: { other: 8081 },
                  serviceAccount: "orders",
                  link: { port: pair.callee.ports.link },
                },
                { labels: { app: "orders" } },
              ),
            ],
            { ...snapshot.self },
            { store: "test", revision: 99, digest: "" },
          ),
        );
        const answer = await pair.call({ host: "orders.shop:81" });
        t.match(answer, { status: 421, reason: "MISDIRECTED" });
        t.equal(
          await pair.metric(
            pair.callee,
            "wherry_requests_total",
            'direction="inbound"',
            'status="421"',
            'reason="MISDIRECTED"',
          ),
          1,
        );
        t.match(JSON.parse(lines[0] ?? "{}"), {
          status: 421,
          reason: "MISDIRECTED",
          detail: /orders\.shop:81 is not a declared port/,
          peer: pair.authority.id("web"),
        });
      },
    );
  },
);

void t.test(
  "a stream to a port of the sidecar itself is a 421, though the workload declares it",
  async (t) => {
    await withPair({}, async (pair) => {
      const { admin, metrics, link: own } = pair.callee.ports;
      const agent = pair.instances[0]?.agent;
      const self = agent?.snapshot.value?.self;
      if (agent === undefined || self === undefined)
        throw new Error("no agent");
      const ports = { admin, metrics, own };
      agent.snapshot.set(
        compileSnapshot(
          [
            resource("Service", "evil", {
              ports: Object.keys(ports).map((name, index) => ({
                name,
                port: 81 + index,
                appProtocol: "http",
              })),
              selector: { app: "orders" },
            }),
            resource(
              "Workload",
              "orders-1",
              { address: "127.0.0.1", ports, serviceAccount: "orders" },
              { labels: { app: "orders" } },
            ),
          ],
          {
            ...self,
            ports: Object.fromEntries(
              Object.entries(ports).map(([name, port]) => [name, port ?? 0]),
            ),
          },
          { store: "test", revision: 9, digest: "" },
        ),
      );
      const declared = agent.snapshot.value?.inbound.ports ?? [];
      t.equal(declared.length, 3, "the snapshot knows all of them");
      const connection = await link(pair, "web");
      for (const port of [81, 82, 83])
        t.equal(
          await ask(connection, {
            destination: `evil.shop:${port}`,
            path: "/config",
          }),
          421,
          `evil.shop:${port}`,
        );
      connection.destroy();
    });
  },
);

void t.test(
  "a server that proves another identity than the snapshot gives that endpoint gets no request, whatever is pooled",
  async (t) => {
    await withPair({}, async (pair) => {
      t.equal((await pair.call()).status, 200, "a connection is pooled");
      // Another service is said to live at the very same address.
      pair.apply([
        resource("Service", "payments", {
          ports: [{ name: "http", port: 80 }],
          selector: { app: "payments" },
        }),
        resource(
          "Workload",
          "payments-1",
          {
            address: "127.0.0.1",
            ports: { http: pair.instances[0]?.appPort ?? 0 },
            serviceAccount: "payments",
            link: { port: pair.callee.ports.link },
          },
          { labels: { app: "payments" } },
        ),
      ]);
      const before = pair.log.filter(
        ({ direction }) => direction === "inbound",
      ).length;
      const answer = await pair.call({ host: "payments.shop" });
      t.match(answer, { status: 503, reason: "WRONG_IDENTITY" });
      t.equal(
        pair.log.filter(({ direction }) => direction === "inbound").length,
        before,
        "it was asked nothing",
      );
      t.match(
        pair.log.find(({ reason }) => reason === "WRONG_IDENTITY"),
        { detail: /expected .*\/sa\/payments, proved .*\/sa\/orders/ },
      );
      t.equal(
        await pair.metric(
          pair.caller,
          "wherry_requests_total",
          'reason="WRONG_IDENTITY"',
        ),
        1,
      );
    });
  },
);

void t.test(
  "a new credential takes new connections: no request travels under an identity that was replaced",
  async (t) => {
    await withPair({}, async (pair) => {
      const peers = (): (string | undefined)[] =>
        pair.log
          .filter(({ direction }) => direction === "inbound")
          .map(({ peer }) => peer);
      await pair.call();
      pair.callerAgent.credentials.set(pair.authority.credentials("renamed"));
      await pair.call();
      t.same(peers(), [pair.authority.id("web"), pair.authority.id("renamed")]);
    });
  },
);

void t.test(
  "pools are kept apart by address, port, expected identity and credential",
  (t) => {
    const authority = fakeAuthority();
    const credentials = watchSource<Credentials | undefined>(
      authority.credentials("web"),
    );
    const pools = makePools({
      clock: systemClock,
      credentials,
      ownPorts: new Set(),
      linkProtocol: "h2",
    });
    t.teardown(() => pools.destroy());
    const settings = poolSettingsOf(TRAFFIC_DEFAULTS);
    const place: HostPort = {
      kind: "link",
      address: "127.0.0.1",
      port: 1,
      identity: authority.id("orders"),
    };
    const first = pools.find(place, settings);
    t.equal(pools.find({ ...place }, settings), first);
    for (const other of [
      { ...place, address: "127.0.0.2" },
      { ...place, port: 2 },
      { ...place, identity: authority.id("payments") },
      {
        kind: "plain",
        address: "127.0.0.1",
        port: 1,
        protocol: "h2",
      } as const,
    ])
      t.not(pools.find(other, settings), first, JSON.stringify(other));
    const { generation } = pools;
    credentials.set(authority.credentials("web"));
    t.ok(pools.generation > generation, "holders of a pool look again");
    t.not(pools.find(place, settings), first, "another credential");
    t.end();
  },
);
