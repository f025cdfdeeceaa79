/** Where a captured connection was going: the kernel's structures, and connections that nobody captured. */
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { endianness } from "node:os";
import t from "tap";
import {
  originalDestination,
  parseSocketAddress,
} from "../../src/wire/original-destination.ts";

void t.test("socket addresses are read as the kernel lays them out", (t) => {
  const family = (number: number): string =>
    endianness() === "LE"
      ? `0${number.toString(16)}00`
      : `000${number.toString(16)}`;
  const rows: [string, string, ReturnType<typeof parseSocketAddress>][] = [
    [
      "sockaddr_in",
      `${family(2)}1f900a000102${"00".repeat(8)}`,
      { address: "10.0.1.2", port: 8080 },
    ],
    [
      "sockaddr_in6",
      `${family(10)}005000000000fd00000000000000000000000000000a00000000`,
      { address: "fd00::a", port: 80 },
    ],
    [
      "sockaddr_in6 of the loopback",
      `${family(10)}01bb00000000${"00".repeat(15)}0100000000`,
      { address: "::1", port: 443 },
    ],
    ["another family", `${family(1)}${"00".repeat(26)}`, undefined],
    ["too short for either", `${family(2)}1f90`, undefined],
    ["too short for IPv6", `${family(10)}${"00".repeat(14)}`, undefined],
    ["nothing", "", undefined],
  ];
  for (const [what, hex, expected] of rows)
    t.same(parseSocketAddress(Buffer.from(hex, "hex")), expected, what);
  t.end();
});

void t.test("a connection that was not captured has none", async (t) => {
  for (const host of ["127.0.0.1", "::1"]) {
    const server = createServer();
    try {
      server.listen({ port: 0, host });
      await once(server, "listening");
    } catch {
      t.comment(`${host} is not there`);
      continue;
    }
    const address = server.address();
    if (address === null || typeof address === "string") continue;
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const client = connect(address.port, host);
    const [socket] = await accepted;
    t.equal(originalDestination(socket), undefined, host);
    socket.destroy();
    t.equal(originalDestination(socket), undefined, "nor when it is closed");
    client.destroy();
    server.close();
  }
});

/** Runs in a network namespace of its own: redirects 80 to the listener, and tells what it recovers over both families. */
const CAPTURED = `
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { originalDestination } from ${JSON.stringify(new URL("../../src/wire/original-destination.ts", import.meta.url).href)};
const found = [];
for (const [bind, target] of [["127.0.0.1", "127.0.0.9"], ["::1", "::1"], ["::", "127.0.0.9"]]) {
  const server = createServer().listen(15001, bind);
  await once(server, "listening");
  const accepted = once(server, "connection");
  const client = connect(80, target);
  const [socket] = await accepted;
  found.push(originalDestination(socket) ?? null);
  client.destroy();
  socket.destroy();
  server.close();
  await once(server, "close");
}
console.log(JSON.stringify(found));
`;

void t.test(
  "a redirected connection has the address that its caller chose",
  { skip: canRedirect() ? false : "no network namespaces or iptables here" },
  (t) => {
    const rule =
      "-t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001";
    const output = execFileSync(
      "unshare",
      [
        "--net",
        "sh",
        "-ec",
        `ip link set lo up; iptables ${rule}; ip6tables ${rule}; exec "$0" --input-type=module -e "$1"`,
        process.execPath,
        CAPTURED,
      ],
      { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
    );
    t.same(JSON.parse(output), [
      { address: "127.0.0.9", port: 80 },
      { address: "::1", port: 80 },
      { address: "127.0.0.9", port: 80 },
    ]);
    t.end();
  },
);

function canRedirect(): boolean {
  const rule = "-t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 1";
  return (
    process.platform === "linux" &&
    spawnSync("unshare", [
      "--net",
      "sh",
      "-ec",
      `ip link set lo up; iptables ${rule}; ip6tables ${rule}; ip -6 addr show lo | grep -q ::1`,
    ]).status === 0
  );
}
