/**
 * Attacks one port until it is killed, in a process of its own, so that whoever measures beside it does not wait for it:
 * `node test/harness/attacker.ts ATTACK PORT`. Prints a line for each connection that ended; "holding" once all are there that are held.
 */
import { connect, type Socket } from "node:net";
import { FLOODS } from "../hostile/flood-attacks.ts";

/** Milliseconds between the end of a connection and the next: a flood is cut off, comes again, and so on. */
const AGAIN = 200;

const [attack = "", port = ""] = process.argv.slice(2);

function open(index: number): Socket {
  // A thousand from each of several addresses: one address may have no more.
  const localAddress = `127.0.0.${2 + Math.floor(index / 1000)}`;
  const socket = connect({
    port: Number(port),
    host: "127.0.0.1",
    localAddress,
  });
  socket.on("error", () => undefined);
  socket.resume();
  return socket;
}

function flood(make: () => Buffer): void {
  const said = make();
  const once = (): void => {
    const socket = open(0);
    socket.write(said);
    socket.on("close", () => {
      process.stdout.write("ended\n");
      setTimeout(once, AGAIN);
    });
  };
  once();
}

/** Connections that say nothing. */
function hold(count: number): void {
  let there = 0;
  let index = 0;
  const next = (): void => {
    if (index >= count) return;
    const socket = open(index);
    index += 1;
    socket.once("connect", () => {
      there += 1;
      if (there === count) process.stdout.write("holding\n");
      next();
    });
    socket.once("close", () => process.stdout.write("ended\n"));
  };
  for (let lane = 0; lane < 20; lane += 1) next();
}

const idle = /^idle-(\d+)$/.exec(attack)?.[1];
const made = FLOODS[attack];
if (idle !== undefined) hold(Number(idle));
else if (made !== undefined) flood(made);
else throw new Error(`no attack ${attack}`);
