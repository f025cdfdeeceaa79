/** Who listens where a token would go, by what the kernel says (proc_net_tcp of Linux). */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import {
  expectOwnPort,
  listeners,
  listeningAddresses,
} from "../../../src/core/local/port-owner.ts";

/** A row of /proc/net/tcp; port 15080 is 3AE8. */
const row = (local: string, state: string, uid: number): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 4711 1 0000000000000000 100 0 0 10 0`;

const V4 = "0100007F:3AE8";
const MAPPED = "0000000000000000FFFF00000100007F:3AE8";
const V6 = "00000000000000000000000001000000:3AE8";
const ANY = ["00000000:3AE8", `${"0".repeat(32)}:3AE8`];

void t.test("on which addresses something listens", (t) => {
  for (const [place, address] of [
    [V4, "127.0.0.1"],
    [MAPPED, "127.0.0.1"],
    [V6, "::1"],
    ["0900007F:3AE8", "127.0.0.9"],
    [ANY[0], "0.0.0.0"],
    [ANY[1], "::"],
  ] as const) {
    const tables = row(place ?? "", "0A", 0);
    t.strictSame([...listeningAddresses(tables, 15_080)], [address]);
    t.strictSame([...listeningAddresses(tables, 15_081)], []);
  }
  t.strictSame([...listeningAddresses(row(V4, "01", 0), 15_080)], []);
  t.end();
});

void t.test("who takes connections to an address", (t) => {
  for (const [host, places] of Object.entries({
    "127.0.0.1": [V4, MAPPED, ...ANY],
    "[::ffff:127.0.0.1]": [V4, MAPPED, ...ANY],
    "[::1]": [V6, ...ANY],
    localhost: [V4, MAPPED, V6, ...ANY],
    "127.0.0.2": ["0200007F:3AE8", ...ANY],
  })) {
    const url = new URL(`http://${host}:15080`);
    const users = (tables: string): readonly number[] => [
      ...listeners(tables, url),
    ];
    for (const place of places) {
      t.strictSame(users(row(place, "0A", 1001)), [1001], `${host} ${place}`);
      t.strictSame(users(row(place, "01", 1001)), [], "a connection");
      t.strictSame(
        users(row(place.replace("3AE8", "3AE9"), "0A", 1001)),
        [],
        "another port",
      );
    }
    const others = [V4, MAPPED, V6, "0200007F:3AE8", "0300007F:3AE8"].filter(
      (place) => !places.includes(place),
    );
    for (const place of others)
      t.strictSame(users(row(place, "0A", 1001)), [], `${host}, not ${place}`);
  }
  const both = [row(V4, "0A", 0), row(V6, "0A", 1001)].join("\n");
  t.strictSame(
    [...listeners(both, new URL("http://localhost:15080"))],
    [0, 1001],
    "a name may lead to either",
  );
  t.strictSame(
    [
      ...listeners(
        row("0100007F:0050", "0A", 33),
        new URL("http://127.0.0.1/"),
      ),
    ],
    [33],
    "port 80 where none is written",
  );
  t.strictSame([...listeners("", new URL("http://127.0.0.1/"))], []);
  t.end();
});

void t.test("a token goes to this user's own port", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-owner-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "admin.token");
  writeFileSync(file, "x", { mode: 0o600 });
  for (const host of ["127.0.0.1", "::1", "0.0.0.0", "::"]) {
    const server = createServer().listen(0, host);
    t.teardown(() => server.close());
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const name = host.includes(":") ? "[::1]" : "127.0.0.1";
    await t.resolves(expectOwnPort(new URL(`http://${name}:${port}`), file));
  }
});
