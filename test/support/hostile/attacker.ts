/**
 * Attacks one port until it is killed, in a process of its own, so that whoever measures beside it does not wait for it:
 * `node test/support/hostile/attacker.ts ATTACK[*CONNECTIONS][,…] PORT`. By itself an attack prints a line for each connection that ended, and
 * "holding" once all are there that are held; several together say so of all, and otherwise only how many ended, once a second.
 */
import { connect, type Socket } from "node:net";
import { FLOODS, TRICKLES } from "./flood-attacks.ts";

/** Milliseconds between the end of a connection and the next: a flood is cut off, comes again, and so on. */
const AGAIN = 200;

/**
 * Bytes of one write. A kernel that does not preempt itself runs a system call to its end, whatever the priorities: a flood of a megabyte
 * in one call would take a millisecond and more of the core on which the good caller is measured.
 */
const PIECE = 65_536;

const [attacks = "", port = ""] = process.argv.slice(2);
const list = attacks.split(",");
const together = attacks.includes("*") || list.length > 1;
let ended = 0;

function tell(): void {
  ended += 1;
  if (!together) process.stdout.write("ended\n");
}

/** Networks that attackers come from, each process from its own: what the one before did is not held against it. */
const NETWORK = 1 + (process.pid % 250);

/** Connection number `index` of the attack in place `kind`, from an address that no other attack has. */
function open(kind: number, index: number): Socket {
  // A thousand from each of several addresses: one address may have no more.
  const localAddress = `127.${NETWORK}.${kind}.${2 + Math.floor(index / 1000)}`;
  const socket = connect({
    port: Number(port),
    host: "127.0.0.1",
    localAddress,
  });
  socket.on("error", () => undefined);
  socket.resume();
  return socket;
}

/** Keeps `count` connections open, each followed by another once it has ended; `speak` is called when one is there. */
function keep(
  kind: number,
  count: number,
  again: boolean,
  speak: (socket: Socket) => void,
): Promise<void> {
  return new Promise((resolve) => {
    let there = 0;
    const once = (index: number, next: () => void): void => {
      const socket = open(kind, index);
      let connected = false;
      socket.once("connect", () => {
        connected = true;
        there += 1;
        if (there === count) resolve();
        speak(socket);
        next();
      });
      socket.once("close", () => {
        tell();
        if (!connected) next();
        if (again) setTimeout(() => once(index, () => undefined), AGAIN);
      });
    };
    let index = 0;
    const start = (): void => {
      if (index >= count) return;
      index += 1;
      once(index - 1, start);
    };
    for (let lane = 0; lane < 20; lane += 1) start();
  });
}

/** Writes all of it, a piece at a time. */
function pour(socket: Socket, said: Buffer, from = 0): void {
  if (from >= said.length || socket.destroyed) return;
  const to = from + PIECE;
  socket.write(said.subarray(from, to), () => pour(socket, said, to));
}

function begin(attack: string, kind: number): Promise<void> {
  const [name = "", times = "1"] = attack.split("*");
  const idle = /^idle-(\d+)$/.exec(name)?.[1];
  if (idle !== undefined)
    return keep(kind, Number(idle), together, () => undefined);
  const said = FLOODS[name]?.();
  if (said !== undefined)
    return keep(kind, Number(times), true, (socket) => pour(socket, said));
  const trickle = TRICKLES[name]?.();
  if (trickle === undefined) throw new Error(`no attack ${name}`);
  return keep(kind, Number(times), true, (socket) => {
    socket.write(trickle.first);
    const timer = setInterval(() => {
      // What the kernel does not take is not worth keeping.
      if (socket.writableLength === 0) socket.write(trickle.then);
    }, trickle.every);
    socket.once("close", () => clearInterval(timer));
  });
}

if (together) setInterval(() => process.stdout.write(`${ended} ended\n`), 1000);
await Promise.all(list.map(begin));
process.stdout.write("holding\n");
