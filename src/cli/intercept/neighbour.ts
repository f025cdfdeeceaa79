/** A network namespace beside this one, joined by a pair of interfaces: from there calls come in as those of another machine do. */
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Cancel, Clock } from "../../core/clock.ts";
import type { Family } from "./rules.ts";
import { run } from "./tools.ts";

export interface Call {
  /** The caller's port; undefined where it was not connected. */
  readonly port: number | undefined;
}

export interface Neighbour {
  /** This namespace's address that the neighbour calls. */
  readonly here: string;
  readonly there: string;
  /** Outside of both; the neighbour sends what is for it here. */
  readonly elsewhere: string;
  /** The interface here. */
  readonly interface: string;
  /** The connection is held until the next call. */
  dial(address: string, port: number): Promise<Call>;
}

/** Addresses for documentation (RFC 5737, RFC 3849): no machine has them. */
const PLAN: Readonly<
  Record<
    Family,
    Pick<Neighbour, "here" | "there" | "elsewhere"> & { readonly bits: number }
  >
> = {
  ipv4: {
    here: "198.51.100.1",
    there: "198.51.100.2",
    elsewhere: "203.0.113.1",
    bits: 30,
  },
  ipv6: {
    here: "2001:db8:0:1::1",
    there: "2001:db8:0:1::2",
    elsewhere: "2001:db8:0:2::1",
    bits: 126,
  },
};

/** Milliseconds for a connection, where nothing else says that there will be none. */
export const PATIENCE = 5000;

/**
 * Dials what each line says, "NUMBER ADDRESS PORT FENCE", and prints the own port, or "-". Calls to FENCE, which is the next machine, are
 * settled at once, and after the call: once two of them are, one after the other, the call will not be.
 */
const CALLER = `
const { connect } = require("node:net");
let last;
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  last?.destroy();
  const [number, host, port, fence] = line.split(" ");
  const tell = (text) => console.log(number + " " + text);
  const socket = (last = connect({ host, port: Number(port) }));
  socket.on("connect", () => tell(socket.localPort));
  socket.on("error", () => tell("-"));
  const settle = (then) => {
    const second = connect({ host: fence, port: 9 });
    second.on("error", then);
    second.on("connect", () => (second.destroy(), then()));
  };
  settle(() => settle(() => tell("-")));
}).on("close", () => process.exit());
console.log("0 -");
`;

export async function withNeighbour(
  family: Family,
  clock: Clock,
  use: (neighbour: Neighbour) => Promise<void>,
): Promise<void> {
  const name = `wherry-${process.pid}`;
  // IFNAMSIZ leaves 15 characters.
  const link = `wh${process.pid}v`;
  const { here, there, elsewhere, bits } = PLAN[family];
  const ip = (...args: string[]): Promise<string> => run("ip", args);
  await ip("netns", "add", name);
  try {
    const inside = ["-n", name];
    await ip(
      "link",
      "add",
      link,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      name,
    );
    // Where this cannot be said, the link-local address is there a second later.
    await writeFile(`/proc/sys/net/ipv6/conf/${link}/accept_dad`, "0").catch(
      () => undefined,
    );
    const nodad = family === "ipv6" ? ["nodad"] : [];
    await ip("addr", "add", `${here}/${bits}`, "dev", link, ...nodad);
    await ip("link", "set", link, "up");
    await ip(
      ...inside,
      "addr",
      "add",
      `${there}/${bits}`,
      "dev",
      "eth0",
      ...nodad,
    );
    await ip(...inside, "link", "set", "eth0", "up");
    const route = family === "ipv6" ? ["-6", "route"] : ["route"];
    await ip(...inside, ...route, "add", "default", "via", here);
    const caller = startCaller(name, here, clock);
    try {
      await caller.ready;
      await use({ here, there, elsewhere, interface: link, dial: caller.dial });
    } finally {
      caller.close();
    }
  } finally {
    // The pair goes with its end in the namespace, but some time after it.
    await ip("link", "del", link).catch(() => undefined);
    await ip("netns", "del", name);
  }
}

function startCaller(
  namespace: string,
  fence: string,
  clock: Clock,
): Pick<Neighbour, "dial"> & {
  readonly ready: Promise<unknown>;
  close(): void;
} {
  const child = spawn(
    "ip",
    ["netns", "exec", namespace, process.execPath, "-e", CALLER],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const waiting = new Map<string, (call: Call) => void>();
  const told = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [number = "", port = "-"] = line.split(" ");
      if (number === "0") resolve();
      waiting.get(number)?.({ port: port === "-" ? undefined : Number(port) });
      waiting.delete(number);
    });
    child.on("exit", () => resolve());
  });
  child.stdin.on("error", () => undefined);
  let calls = 0;
  return {
    ready: told,
    dial(address, port) {
      const number = String((calls += 1));
      return new Promise((resolve) => {
        const cancel: Cancel = clock.after(PATIENCE, () =>
          resolve({ port: undefined }),
        );
        waiting.set(number, (call) => {
          cancel();
          resolve(call);
        });
        child.stdin.write(`${number} ${address} ${port} ${fence}\n`);
      });
    },
    close: () => child.stdin.end(),
  };
}
