/** Calls by name in a captured mesh: the caller's resolver makes an address of each name, and its sidecar the name of that address. */
import { readFileSync } from "node:fs";
import type { Test } from "tap";
import {
  nameServersIn,
  RESOLV_CONF,
} from "../../../src/wire/dns/resolv-conf.ts";
import { eventually } from "../peers/call.ts";
import { clientCommand, INTEROP_MISSING } from "../processes/grpc-interop.ts";
import { findTool, needs } from "../processes/tools.ts";
import { curl, rulesOf, talk } from "./captured-calls.ts";
import { WHERRY, type CapturedMesh } from "./captured-mesh.ts";
import { watchWire } from "./wire-watch.ts";

/** Those that applications ask. */
export const NAME_SERVERS: readonly string[] = nameServersIn(
  readFileSync(RESOLV_CONF, "utf8"),
);

/** Younger than `callee`, and of the same instance. */
export const VERSION_2 = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: callee-v2, namespace: shop }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080, appProtocol: http }]
  selector: { app: callee }
`;

const SKIPPED = "resolv.conf lists no name server";

/** Opens a WebSocket to the URL, and prints the first message that comes. */
const WEB_SOCKET = `
const socket = new WebSocket(process.argv[1]);
const tell = (text) => (console.log(text), process.exit());
socket.onmessage = ({ data }) => tell(data);
socket.onerror = ({ message }) => tell("failed: " + message);
`;

const NAMES = [
  "callee",
  "callee.shop",
  "callee.shop.svc",
  "callee.shop.svc.cluster.local",
  "CALLEE.Shop",
];

/** `grpc`: the port of gRPC's interoperability suite, which runs where it is built. */
export async function callByName(
  t: Test,
  mesh: CapturedMesh,
  grpc: number,
  /** In the paths, so that the log of one time is not taken for another's. */
  mark = "",
): Promise<void> {
  if (NAME_SERVERS.length === 0) {
    t.pass(SKIPPED, { skip: SKIPPED });
    return;
  }
  const { network, caller, callee } = mesh;
  const destinationOf = async (path: string): Promise<string | undefined> => {
    const [record] = await eventually(
      "the access log",
      10_000,
      () => Promise.resolve(caller.accesses(path)),
      (records) => records.length > 0,
    );
    return record?.destination;
  };
  const seen = await watchWire(network, callee, async () => {
    for (const [index, name] of NAMES.entries()) {
      const path = `/by-name-${mark}${index}`;
      // Spans of either host have the path; nothing else has the body.
      const body = ["-d", "body-of-http"];
      const answer = await curl(caller, `http://${name}${path}`, body);
      t.match(answer, { status: 200, by: "callee" }, `${name}: ${answer.text}`);
      t.equal(await destinationOf(path), "callee.shop:80", name);
    }
    const version = await curl(caller, `http://callee-v2.shop/${mark}v2`);
    t.match(version, { status: 200, by: "callee" });
    t.equal(await destinationOf(`/${mark}v2`), "callee-v2.shop:80");
    const bytes = await talk(
      ...([
        caller,
        "callee.shop",
        90,
        "after the greeting",
        "bytes-of-tcp",
      ] as const),
    );
    t.match(bytes, { how: "closed", start: "greeting of callee\n" });
    t.match(bytes.end, /bytes-of-tcp\nseen 12$/);
    const socket = await caller.run([
      ...[process.execPath, "-e", WEB_SOCKET, "ws://callee.shop/socket"],
    ]);
    t.equal(socket.stdout.trim(), "a frame of callee", socket.stderr);
    if (INTEROP_MISSING.length > 0) return;
    const command = clientCommand("interop.shop", grpc, "empty_unary");
    t.match(await caller.run(command), { code: 0 }, "gRPC");
  });
  for (const port of [8080, 9000, grpc])
    t.equal(seen.packets(port), 0, `no plaintext to ${port}`);
  for (const text of [
    "body-of-http",
    "bytes-of-tcp",
    "greeting of",
    "a frame of",
  ])
    t.notOk(seen.has(text), `"${text}" is not on the wire`);
  t.ok(seen.packets(15008) > 0);
  const nobody = await curl(caller, "http://nobody.shop.svc.cluster.local/");
  t.match(nobody, { status: 0, text: /resolve/i });
  const closed = await curl(caller, "http://callee.shop:81/");
  t.match(closed.reason, /UNKNOWN_DESTINATION/, "a port that it does not have");
}

/** The same with rules of nftables in the place of those of iptables; in the end there are none. */
export async function callByNft(
  t: Test,
  mesh: CapturedMesh,
  grpc: number,
): Promise<void> {
  const { skip } = needs(findTool("nft") === undefined ? ["nft"] : []);
  if (skip !== undefined) {
    t.pass(skip, { skip });
    return;
  }
  const names = ["--dns-port", "15053", "--dns-server", NAME_SERVERS.join()];
  const { caller, callee } = mesh;
  for (const host of [caller, callee]) {
    const stated = host === caller && NAME_SERVERS.length > 0 ? names : [];
    for (const args of [
      ["--remove"],
      ["--backend", "nft", ...stated],
      ["--backend", "nft", "--verify", ...stated],
    ]) {
      const { code, stdout, stderr } = await host.run([
        ...[...WHERRY, "intercept", ...args],
      ]);
      t.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
    }
    t.notMatch(await rulesOf(host), "WHERRY", "no rule of iptables is left");
  }
  await callByName(t, mesh, grpc, "nft-");
  for (const host of [caller, callee])
    await host.run([...WHERRY, "intercept", "--backend", "nft", "--remove"]);
}
