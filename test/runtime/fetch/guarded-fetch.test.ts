/** A fetch of an address that somebody else chose reaches what it may, and nothing else (SSRF). */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import { guardedFetch } from "../../../src/runtime/fetch/guarded-fetch.ts";
import type { Reach } from "../../../src/runtime/fetch/guarded-lookup.ts";
import type { ResolveHost } from "../../../src/runtime/fetch/host-lookups.ts";

const NONE: Reach = { hosts: [], ranges: [] };
const LOOPBACK: Reach = { hosts: [], ranges: ["127.0.0.0/8"] };

/** All names lead to these. */
const to =
  (...addresses: readonly string[]): ResolveHost =>
  (_host, done) =>
    done(
      null,
      addresses.map((address) => ({
        address,
        family: address.includes(":") ? 6 : 4,
      })),
    );

async function withServer(
  listener: RequestListener,
  use: (port: number, asked: () => number) => Promise<void>,
): Promise<void> {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    listener(request, response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    await use((server.address() as AddressInfo).port, () => asked);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function get(
  address: string,
  allowance: Reach,
  resolve: ResolveHost = to("127.0.0.1"),
  limit = 1000,
  timeout = 10_000,
): Promise<string> {
  return guardedFetch(address, {
    ...{ clock: systemClock, allowance, resolve, limit, timeout },
    accept: "application/json",
  });
}

const NOT_PUBLIC = /not a public address/;

void t.test("an address that is not public is not asked", async (t) => {
  await withServer(
    (_request, response) => response.end("secret"),
    async (port, asked) => {
      for (const host of [
        ...["127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001"],
        ...["[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "0.0.0.0", "[::]"],
        ...["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.100.100.200"],
        ...["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "192.0.0.192"],
        ...["[64:ff9b::7f00:1]", "[2002:7f00:1::]", "168.63.129.16"],
        ...["224.0.0.1", "255.255.255.255", "198.18.0.1", "[2001:db8::1]"],
      ])
        await t.rejects(get(`http://${host}:${port}/`, NONE), NOT_PUBLIC, host);
      for (const addresses of [
        ["127.0.0.1"],
        ["::1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        // One that is public beside it makes it no better.
        ["93.184.216.34", "127.0.0.1"],
        ["2606:2800:220:1::1", "::ffff:10.0.0.1"],
      ])
        await t.rejects(
          get(`http://keys.example:${port}/`, NONE, to(...addresses)),
          NOT_PUBLIC,
          addresses.join(" "),
        );
      t.equal(asked(), 0);
    },
  );
});

void t.test("a name that does not resolve", async (t) => {
  // Below .invalid no name server has a name (RFC 6761, 6.4).
  for (const resolve of [undefined, gone])
    await t.rejects(
      guardedFetch("http://keys.invalid/", {
        ...{ clock: systemClock, allowance: NONE, limit: 1000, accept: "*/*" },
        timeout: 30_000,
        ...(resolve === undefined ? {} : { resolve }),
      }),
      /ENOTFOUND|EAI_AGAIN/,
    );
});

const gone: ResolveHost = (host, done) =>
  process.nextTick(() => done(new Error(`getaddrinfo ENOTFOUND ${host}`)));

void t.test("what is allowed is reached, and no more", async (t) => {
  await withServer(
    (_request, response) => response.end("keys"),
    async (port) => {
      const named = { hosts: ["keys.corp"], ranges: [] };
      t.equal(await get(`http://keys.corp:${port}/`, named), "keys");
      t.equal(await get(`http://KEYS.corp.:${port}/`, named), "keys");
      t.equal(await get(`http://any.corp:${port}/`, LOOPBACK), "keys");
      t.equal(await get(`http://127.0.0.1:${port}/`, LOOPBACK), "keys");
      await t.rejects(get(`http://x.keys.corp:${port}/`, named), NOT_PUBLIC);
      await t.rejects(get(`http://127.0.0.1:${port}/`, named), NOT_PUBLIC);
      await t.rejects(
        get(`http://any.corp:${port}/`, LOOPBACK, to("10.0.0.1")),
        NOT_PUBLIC,
      );
    },
  );
});

void t.test(
  "a name is resolved once: the address that was judged is called",
  async (t) => {
    await withServer(
      (_request, response) => response.end("keys"),
      async (port) => {
        let looked = 0;
        // Public or allowed when it is judged, another one when it is asked again.
        const rebinding: ResolveHost = (host, done) => {
          looked += 1;
          to(looked === 1 ? "127.0.0.1" : "10.0.0.1")(host, done);
        };
        t.equal(
          await get(`http://keys.example:${port}/`, LOOPBACK, rebinding),
          "keys",
        );
        t.equal(looked, 1);
      },
    );
  },
);

void t.test("redirects are judged as the first address is", async (t) => {
  await withServer(
    ({ url = "" }, response) => {
      const location = decodeURIComponent(url.slice(1));
      if (location === "keys") response.end("keys");
      else if (location.includes("round"))
        response.writeHead(302, { location: url }).end();
      else response.writeHead(302, { location }).end();
    },
    async (port, asked) => {
      const hop = (target: string): string =>
        `http://keys.corp:${port}/${encodeURIComponent(target)}`;
      const named = { hosts: ["keys.corp"], ranges: [] };
      t.equal(await get(hop("/keys"), named), "keys", "within the host");
      t.equal(await get(hop(hop("/keys")), named), "keys");
      const before = asked();
      await t.rejects(
        get(hop(`http://127.0.0.1:${port}/keys`), named),
        NOT_PUBLIC,
      );
      await t.rejects(
        get(hop(`http://other.corp:${port}/keys`), named),
        NOT_PUBLIC,
      );
      t.equal(asked(), before + 2, "the targets were not asked");
      await t.rejects(get(hop("file:///etc/passwd"), named), /http or https/);
      await t.rejects(get(hop("http://a:b@keys.corp/"), named), /credentials/);
      const round = `http://keys.corp:${port}/`;
      await t.rejects(
        get(`${round}%2F%252Fround`, named),
        /redirected more than 3 times/,
      );
    },
  );
});

void t.test("size and time are bounded", async (t) => {
  await withServer(
    ({ url }, response) => {
      if (url === "/huge") response.end("x".repeat(5000));
      else if (url === "/endless") {
        // More than the limit, and no end.
        for (let sent = 0; sent < 3; sent += 1) response.write("x".repeat(500));
      } else if (url === "/silent") response.writeHead(200).write("x");
      else if (url === "/error") response.writeHead(500).end("broken");
    },
    async (port) => {
      const at = (path: string, timeout?: number): Promise<string> =>
        get(
          `http://keys.corp:${port}${path}`,
          LOOPBACK,
          undefined,
          1000,
          timeout,
        );
      await t.rejects(at("/huge"));
      await t.rejects(at("/endless"));
      await t.rejects(at("/silent", 50), /no response within 50 ms/);
      await t.rejects(at("/dead", 50), /no response within 50 ms/);
      await t.rejects(at("/error"), /responded with 500/);
    },
  );
});

void t.test("what is no address is refused", async (t) => {
  for (const address of [
    "",
    "keys",
    "ftp://a/",
    "data:,x",
    "http://u:p@a.example/",
  ])
    await t.rejects(get(address, LOOPBACK), /an address with/, address);
});
