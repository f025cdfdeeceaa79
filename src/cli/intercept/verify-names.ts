/** Proves that questions to name servers arrive at the resolver, which says its name where a name server would not. */
import { createSocket, type Socket } from "node:dgram";
import type { Clock } from "../../core/clock.ts";
import { messageOf, systemCode, UserError } from "../../core/errors.ts";
import { bindDatagrams } from "../../core/listening.ts";
import {
  IDENTITY,
  IDENTITY_REPLY,
  isIdentity,
  makeReply,
  RCODE,
  readMessage,
} from "../../wire/dns/messages.ts";
import { PATIENCE } from "./neighbour.ts";
import {
  DNS_PORT,
  nameServersOf,
  type Family,
  type Interception,
} from "./rules.ts";

/** Questions that fare as they should, until the rules stand: one alone may come from a port that the kernel still leads on as before. */
const PROOFS = 3;
/** Questions that fare otherwise, until the rules are to blame. */
const FAILURES = 4;

/** In words, which datagrams bypass the resolver, or reach it and should not. */
export async function nameBypasses(
  interception: Interception,
  application: number,
  family: Family,
  clock: Clock,
): Promise<readonly string[]> {
  const { names, proxyUid } = interception;
  const servers = nameServersOf(interception, family);
  if (names === undefined || servers.length === 0) return [];
  const found: string[] = [];
  const close = await standIn(family, names.port);
  try {
    for (const server of servers) {
      const ask = async (uid: number): Promise<boolean> => {
        const socket = await socketOf(uid, family);
        try {
          return await isCaptured(socket, server, names.port, clock);
        } finally {
          socket.close();
        }
      };
      if (!(await fares(true, () => ask(application))))
        found.push(
          `a question to ${server} bypasses the sidecar: its resolver did not respond on port ${names.port}`,
        );
      if (!(await fares(false, () => ask(proxyUid))))
        found.push(
          `a question of the sidecar's own to ${server} is captured: its resolver would ask itself`,
        );
    }
  } finally {
    close();
  }
  return found;
}

/** Whether questions fare as they are to. Each one comes from another port: the kernel leads on as before what comes from a port that another question came from lately. */
async function fares(
  captured: boolean,
  ask: () => Promise<boolean>,
): Promise<boolean> {
  let proofs = 0;
  let failures = 0;
  while (proofs < PROOFS && failures < FAILURES)
    if ((await ask()) === captured) proofs += 1;
    else failures += 1;
  return proofs === PROOFS;
}

/** id.server CH TXT (RFC 4892). */
const QUESTION = Buffer.concat([
  Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ...IDENTITY.split(".").flatMap((label) => [
    Buffer.from([label.length]),
    Buffer.from(label),
  ]),
  Buffer.from([0, 0, 16, 0, 3]),
]);

/** The same under another number. */
const FENCE = Buffer.from(QUESTION);
FENCE[1] = 2;

/** The resolver is asked directly besides, and takes one after the other: where its second reply comes first, there is no first. */
function isCaptured(
  socket: Socket,
  server: string,
  port: number,
  clock: Clock,
): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (captured: boolean): void => {
      cancel();
      resolve(captured);
    };
    const cancel = clock.after(PATIENCE, () => settle(false));
    socket.on("message", (reply) =>
      settle(reply[1] === QUESTION[1] && reply.includes(IDENTITY_REPLY)),
    );
    socket.send(QUESTION, DNS_PORT, server, () => undefined);
    const here = server.includes(":") ? "::1" : "127.0.0.1";
    socket.send(FENCE, port, here, () => undefined);
  });
}

/** A socket of that user's. */
async function socketOf(uid: number, family: Family): Promise<Socket> {
  const own = process.geteuid?.() ?? 0;
  const socket = createSocket(family === "ipv4" ? "udp4" : "udp6");
  try {
    process.seteuid?.(uid);
    // The system's socket is made when it is bound.
    const address = family === "ipv4" ? "0.0.0.0" : "::";
    await bindDatagrams(socket, { port: 0, address });
  } catch (error) {
    throw new UserError(
      `a question as user ${uid} cannot be asked: ${messageOf(error)}. It needs root, or CAP_SETUID`,
    );
  } finally {
    process.seteuid?.(own);
  }
  socket.on("error", () => undefined);
  return socket;
}

/** Responds where no resolver does; gives the way to stop. */
async function standIn(family: Family, port: number): Promise<() => void> {
  const socket = createSocket(family === "ipv4" ? "udp4" : "udp6");
  socket.on("message", (bytes, from) => {
    const message = readMessage(bytes);
    if (message.kind !== "question" || !isIdentity(message.question)) return;
    const record = { type: "TXT", data: IDENTITY_REPLY, ttl: 0 } as const;
    const reply = makeReply(message.question, RCODE.NOERROR, [record]);
    socket.send(reply, from.port, from.address, () => undefined);
  });
  try {
    const address = family === "ipv4" ? "127.0.0.1" : "::1";
    await bindDatagrams(socket, { port, address });
  } catch (error) {
    socket.close();
    // The sidecar runs.
    if (systemCode(error) === "EADDRINUSE") return () => undefined;
    throw error;
  }
  return () => socket.close();
}
