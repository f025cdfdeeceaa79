/** Hosts below a wildcard, called through a real sidecar: by their own names, over TLS that proves these, and nowhere that is not public. */
import dns from "node:dns";
import { isIP } from "node:net";
import { syncBuiltinESMExports } from "node:module";
import t, { type Test } from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import { resource, withPair, type Pair } from "../../support/meshes/pair.ts";
import {
  outsideAuthority,
  outsideServer,
} from "../../support/peers/outside.ts";

const authority = outsideAuthority();

/** Names below example.test lead to these; the system resolves no other. */
function resolving(
  t: Pick<Test, "teardown">,
  addresses: Readonly<Record<string, readonly string[]>>,
): string[] {
  const asked: string[] = [];
  const { lookup } = dns;
  const fake = (
    host: string,
    options: dns.LookupAllOptions,
    done: (error: Error | null, found?: readonly dns.LookupAddress[]) => void,
  ): void => {
    if (isIP(host) !== 0) {
      lookup(host, options, done);
      return;
    }
    asked.push(host);
    const found = addresses[host];
    // As Node does it: an error comes alone, and later.
    if (found === undefined)
      process.nextTick(() =>
        done(Object.assign(new Error(host), { code: "ENOTFOUND" })),
      );
    else
      done(
        null,
        found.map((address) => ({
          address,
          family: address.includes(":") ? 6 : 4,
        })),
      );
  };
  const put = (to: unknown): void => {
    Object.assign(dns, { lookup: to });
    syncBuiltinESMExports();
  };
  put(fake);
  t.teardown(() => put(lookup));
  return asked;
}

function wildcard(port: number): Resource {
  return resource("Service", "api", {
    location: "MESH_EXTERNAL",
    hosts: ["*.example.test"],
    ports: [{ name: "web", port: 80, targetPort: port, appProtocol: "http" }],
  });
}

const TLS = resource("TrafficPolicy", "api", {
  targetRefs: [{ kind: "Service", name: "api" }],
  tls: { mode: "SIMPLE", caBundle: authority.bundle },
});

function meshOf(spec: object): Resource {
  return resource("Mesh", "default", {
    authorization: { defaultAction: "ALLOW" },
    outboundTrafficPolicy: "REGISTRY_ONLY",
    ...spec,
  });
}

const ask = async (pair: Pair, host: string): Promise<unknown> => {
  const { status, reason } = await pair.call({ host });
  return status === 200 ? 200 : reason;
};

void t.test(
  "a mistyped host is refused by the system's own word",
  async (t) => {
    const resources = [
      resource("Service", "api", {
        location: "MESH_EXTERNAL",
        hosts: ["*.example.invalid"],
        ports: [{ name: "web", port: 80, appProtocol: "http" }],
      }),
      meshOf({}),
    ];
    await withPair({ instances: 0, resources }, async (pair) => {
      pair.apply(resources);
      for (const host of ["mistyped.example.invalid", "b.example.invalid"])
        t.match(
          await pair.call({ host }),
          { reason: "UNKNOWN_DESTINATION", text: /the name does not resolve/ },
          host,
        );
    });
  },
);

void t.test(
  "each host is called by its own name, which it proves",
  async (t) => {
    const names = ["a.example.test", "b.example.test"];
    const server = await outsideServer(
      t,
      "http/1.1",
      authority.leaf({ dns: names }),
    );
    const asked = resolving(
      t,
      Object.fromEntries(
        [...names, "c.example.test"].map((host) => [host, ["127.0.0.1"]]),
      ),
    );
    const ranges = { privateFetch: { ranges: ["127.0.0.0/8"] } };
    const resources = [wildcard(server.port), TLS];
    await withPair({ instances: 0, resources }, async (pair) => {
      pair.apply([...resources, meshOf(ranges)]);
      for (const host of [...names, ...names])
        t.equal(await ask(pair, host), 200, host);
      t.strictSame(
        server.sessions.map(({ serverName }) => serverName),
        names,
        "a connection for each, which is kept",
      );
      t.strictSame(asked, names);
      t.strictSame(
        server.requests.map(({ headers }) => headers["host"]),
        [...names, ...names],
      );
      t.equal(
        await ask(pair, "c.example.test"),
        "WRONG_IDENTITY",
        "the certificate is for others",
      );
      t.equal(await ask(pair, "d.example.test"), "UNKNOWN_DESTINATION");
      t.equal(await ask(pair, "example.test"), "UNKNOWN_DESTINATION");
      t.match(pair.log.at(-1), { destination: "unknown" }, "not below");
      t.equal(server.requests.length, 4, "nothing else came there");
      t.match(pair.log[0], { destination: "api.shop:80" });

      pair.apply([...resources, meshOf({})]);
      t.equal(
        await ask(pair, names[0] ?? ""),
        "UNKNOWN_DESTINATION",
        "what was allowed serves no call that is not",
      );
      t.equal(server.requests.length, 4);
    });
  },
);

void t.test("no host leads where only this machine gets", async (t) => {
  const server = await outsideServer(t, "http/1.1", authority.leaf());
  const places: Readonly<Record<string, readonly string[]>> = {
    "loopback.example.test": ["127.0.0.1"],
    "v6.example.test": ["::1"],
    "mapped.example.test": ["::ffff:127.0.0.1"],
    "metadata.example.test": ["169.254.169.254"],
    "private.example.test": ["10.0.0.1"],
    "any.example.test": ["0.0.0.0"],
    "mixed.example.test": ["192.0.2.1", "127.0.0.1"],
  };
  resolving(t, { ...places, "named.example.test": ["127.0.0.1"] });
  await withPair(
    { instances: 0, resources: [wildcard(server.port)] },
    async (pair) => {
      pair.apply([
        wildcard(server.port),
        meshOf({ privateFetch: { hosts: ["named.example.test"] } }),
      ]);
      for (const host of Object.keys(places)) {
        t.equal(await ask(pair, host), "UNKNOWN_DESTINATION", host);
        t.match(pair.log.at(-1)?.detail, /not a public address/, host);
      }
      t.equal(server.sessions.length, 0);
      await ask(pair, "named.example.test");
      t.notMatch(
        pair.log.at(-1)?.detail,
        /not a public address/,
        "one that the Mesh names",
      );
    },
  );
});
