/** Calls of applications on hosts of their own: HTTP by curl, bytes in a stated order. */
import type { Host, RunOptions } from "./hosts.ts";

export interface Answer {
  /** 0 where there was none; `text` says why. */
  readonly status: number;
  readonly reason: string;
  readonly by: string;
  readonly text: string;
}

/** A plain HTTP call to an address, as an application makes one. */
export async function curl(
  from: Host,
  url: string,
  more: readonly string[] = [],
  options: RunOptions = {},
): Promise<Answer> {
  const { stdout, stderr } = await from.run(
    [
      ...["curl", "-sS", "-i", "--noproxy", "*", "--max-time", "8"],
      ...more,
      url,
    ],
    options,
  );
  const [head = "", ...body] = stdout.split("\r\n\r\n");
  const field = (name: string): string =>
    new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1]?.trim() ?? "";
  return {
    status: Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(head)?.[1] ?? 0),
    reason: field("x-wherry-reason"),
    by: field("x-answered-by"),
    text: body.join("\r\n\r\n") || stderr,
  };
}

/** Connects, sends `text` (after the greeting, where `waits`), ends its half, and tells what came until the other end. */
const CLIENT = `
import { connect } from "node:net";
const [host, port, order, text, times] = process.argv.slice(1);
const socket = connect({ host, port: Number(port), allowHalfOpen: true });
let got = "";
const send = () => socket.end(text.repeat(Number(times)));
if (order === "speaks first") send();
if (order === "after the greeting") socket.once("data", send);
if (order === "after the end") socket.once("end", send);
socket.on("data", (chunk) => (got += chunk.toString("latin1")));
const tell = (how) => {
  console.log(JSON.stringify({ how, length: got.length, start: got.slice(0, 40), end: got.slice(-40) }));
  process.exit();
};
socket.on("error", (error) => tell(error.code));
socket.on("close", () => tell("closed"));
setTimeout(() => tell("nothing happens"), 8000);
`;

export interface Talk {
  readonly how: string;
  readonly length: number;
  readonly start: string;
  readonly end: string;
}

export async function talk(
  from: Host,
  address: string,
  port: number,
  order: "speaks first" | "after the greeting" | "after the end",
  text: string,
  times = 1,
  options: RunOptions = {},
): Promise<Talk> {
  const { stdout, stderr } = await from.run(
    [
      ...[process.execPath, "--input-type=module", "-e", CLIENT],
      ...[address, String(port), order, text, String(times)],
    ],
    options,
  );
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Talk;
}

/** The nat tables of both families, without counters and comments. */
export async function rulesOf(host: Host): Promise<string> {
  const saved = await Promise.all(
    ["iptables-save", "ip6tables-save"].map(
      async (tool) => (await host.run([tool, "-t", "nat"])).stdout,
    ),
  );
  return saved
    .join("")
    .replace(/^#.*\n/gm, "")
    .replace(/\[[0-9:]+\]/g, "");
}
