/** Proves that the rules act: a call of its own through each of them, and a look at where the call arrived. */
import { readFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { messageOf, systemCode, UserError } from "../../core/errors.ts";
import {
  PATIENCE,
  withNeighbour,
  type Call,
  type Neighbour,
} from "./neighbour.ts";
import {
  DNS_PORT,
  excludedRanges,
  nameServersOf,
  type Family,
  type Interception,
} from "./rules.ts";

interface Probe {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** It is to arrive at the sidecar. */
  readonly captured: boolean;
}

/** Discard's: nobody has set anything up for it. */
const PORT = 9;
/**
 * Calls through a rule until one is seen at the sidecar's port. The kernel gives a call that it redirects another port of origin, where
 * the own one is still kept for a past call to there: such a call is not recognized.
 */
const TRIES = 10;
/** Calls that nobody takes, until one that is to arrive counts as one that does not: of two that come to the kernel's table of connections at once it drops one. */
const MOST_LOST = 3;
const ROOT = 0;
const ANYBODY = 65_534;

/** In words, what bypasses the sidecar, or reaches it and should not; empty where all is as it should be. */
export async function bypasses(
  interception: Interception,
  family: Family,
  clock: Clock,
): Promise<readonly string[]> {
  const { outboundPort, inboundPort, proxyUid } = interception;
  const found: string[] = [];
  const judge = async (
    { name, captured }: Probe,
    port: number,
    dial: () => Promise<Dialled>,
  ): Promise<void> => {
    if ((await arrivesAt(port, dial, captured)) === captured) return;
    found.push(
      captured
        ? `${name} bypasses the sidecar: the call did not arrive at port ${port}`
        : `${name} is captured: the call arrived at port ${port}`,
    );
  };
  const application = proxyUid === ROOT ? ANYBODY : ROOT;
  const dnsPort = interception.names?.port ?? 0;
  const close = await standIn(family, [
    ...[outboundPort, inboundPort],
    ...(dnsPort === 0 ? [] : [dnsPort]),
  ]);
  try {
    await withNeighbour(family, clock, async (neighbour) => {
      for (const [uid, probe] of [
        ...outbound(interception, family, neighbour).map(
          (each) => [application, each] as const,
        ),
        [proxyUid, ownCall(neighbour)] as const,
      ])
        await judge(probe, outboundPort, () =>
          dialAs(uid, probe, neighbour.there, clock),
        );
      for (const [uid, probe] of namesByStream(interception, family).flatMap(
        (each) =>
          [
            [application, each],
            [proxyUid, { ...each, ...OWN_QUESTION }],
          ] as const,
      ))
        await judge(probe, dnsPort, () =>
          dialAs(uid, probe, neighbour.there, clock),
        );
      for (const probe of inbound(interception, neighbour))
        await judge(probe, inboundPort, () =>
          neighbour.dial(probe.address, probe.port),
        );
    });
  } finally {
    close();
  }
  if (interception.names === undefined) return found;
  // Loaded here: what reads DNS is not everybody's.
  const { nameBypasses } = await import("./verify-names.ts");
  return [
    ...found,
    ...(await nameBypasses(interception, application, family, clock)),
  ];
}

/** A long reply is asked for again by TCP. */
function namesByStream(interception: Interception, family: Family): Probe[] {
  return nameServersOf(interception, family).map((address) => ({
    name: `a question by TCP to ${address}`,
    address,
    port: DNS_PORT,
    captured: true,
  }));
}

const OWN_QUESTION = {
  name: "a question of the sidecar's own by TCP",
  captured: false,
};

function outbound(
  interception: Interception,
  family: Family,
  { there, interface: link }: Neighbour,
): Probe[] {
  const { excludedOutbound } = interception;
  return [
    {
      name: "a call of the application",
      address: there,
      port: freeOf(excludedOutbound),
      captured: true,
    },
    {
      name: "a call over loopback",
      address: family === "ipv4" ? "127.0.0.1" : "::1",
      port: freeOf(excludedOutbound),
      captured: false,
    },
    ...excludedOutbound.map((port) => ({
      name: `a call to port ${port}, which is excluded`,
      address: there,
      port,
      captured: false,
    })),
    ...excludedRanges(interception, family).map((range) => ({
      name: `a call to ${range}, which is excluded`,
      address: addressIn(range, link),
      port: freeOf(excludedOutbound),
      captured: false,
    })),
  ];
}

function ownCall({ there }: Neighbour): Probe {
  return {
    name: "a call of the sidecar's own",
    address: there,
    port: PORT,
    captured: false,
  };
}

function inbound(
  { excludedInbound }: Interception,
  { here, elsewhere }: Neighbour,
): Probe[] {
  return [
    {
      name: "a call from outside",
      address: here,
      port: freeOf(excludedInbound),
      captured: true,
    },
    ...excludedInbound.map((port) => ({
      name: `a call from outside to port ${port}, which is excluded`,
      address: here,
      port,
      captured: false,
    })),
    {
      name: "a call from outside for another machine",
      address: elsewhere,
      port: freeOf(excludedInbound),
      captured: false,
    },
  ];
}

/** A port that is not stated. */
function freeOf(ports: readonly number[]): number {
  let port = PORT;
  while (ports.includes(port)) port += 1;
  return port;
}

/** The first address of a range; of a link-local one on that interface. */
function addressIn(range: string, link: string): string {
  const [address = ""] = range.split("/");
  if (!address.startsWith("fe80:")) return address;
  return `${address === "fe80::" ? "fe80::1" : address}%${link}`;
}

interface Dialled extends Call {
  /** Ends the connection; where absent, the next call does. */
  close?(): void;
}

async function arrivesAt(
  port: number,
  dial: () => Promise<Dialled>,
  expected: boolean,
): Promise<boolean> {
  let lost = 0;
  for (let tries = 0; tries < TRIES; tries += 1) {
    const call = await dial();
    const isThere = call.port !== undefined && (await isAt(port, call.port));
    call.close?.();
    if (isThere) return true;
    if (call.port !== undefined) continue;
    lost += 1;
    if (!expected || lost === MOST_LOST) return false;
  }
  return false;
}

/** Calls as that user. */
async function dialAs(
  uid: number,
  { address, port }: Probe,
  fence: string,
  clock: Clock,
): Promise<Dialled> {
  const own = process.geteuid?.() ?? ROOT;
  let socket: Socket;
  try {
    process.seteuid?.(uid);
    socket = connect({ host: address, port });
    socket.on("error", () => undefined);
    // The system's socket, which belongs to whoever makes it, is made one turn later.
    await new Promise<void>((resolve) => process.nextTick(resolve));
  } catch (error) {
    throw new UserError(
      `a call as user ${uid} cannot be made: ${messageOf(error)}. It needs root, or CAP_SETUID`,
    );
  } finally {
    process.seteuid?.(own);
  }
  const from = await new Promise<number | undefined>((resolve) => {
    const over = (result: number | undefined): void => {
      cancel();
      resolve(result);
    };
    const cancel = clock.after(PATIENCE, () => over(undefined));
    socket.on("connect", () => over(socket.localPort));
    socket.on("error", () => over(undefined));
    // What is captured is connected within this machine, before these are settled, one after the other.
    const late = (): void => over(undefined);
    settled(fence)
      .then(() => settled(fence))
      .then(late, late);
  });
  return { port: from, close: () => socket.destroy() };
}

/** A call that is connected or refused at once. */
function settled(address: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: PORT });
    socket.on("error", () => resolve());
    socket.on("connect", () => {
      socket.destroy();
      resolve();
    });
  });
}

/** Listens where nobody does, so that what is captured finds somebody; gives the way to stop. */
async function standIn(
  family: Family,
  ports: readonly number[],
): Promise<() => void> {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  for (const port of ports) {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      sockets.add(socket);
    });
    const host = family === "ipv4" ? "0.0.0.0" : "::";
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => {
        // The sidecar runs.
        if (systemCode(error) === "EADDRINUSE") resolve();
        else reject(error);
      });
      server.listen({ host, port, ipv6Only: family === "ipv6" }, resolve);
    });
    servers.push(server);
  }
  return () => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  };
}

/** Whether a connection of this namespace ends at `port` and came from port `from`. */
async function isAt(port: number, from: number): Promise<boolean> {
  const hex = (number: number): string =>
    `:${number.toString(16).toUpperCase().padStart(4, "0")}`;
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = await readFile(table, "latin1").catch(() => "");
    for (const line of text.split("\n")) {
      const [, local = "", remote = ""] = line.trim().split(/ +/);
      if (local.endsWith(hex(port)) && remote.endsWith(hex(from))) return true;
    }
  }
  return false;
}
