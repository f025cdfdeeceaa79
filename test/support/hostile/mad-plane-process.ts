/** The process of a control plane that can go mad: it tells its port and a token, and takes the name of a madness a line, or "" for none. */
import { createInterface } from "node:readline";
import { MADNESS, type Madness } from "./madness.ts";
import { startMadPlane } from "./mad-plane.ts";

const [host = "127.0.0.1", app = "orders", ...addresses] =
  process.argv.slice(2);

const plane = await startMadPlane(host);
const token = (name: string): Promise<string> =>
  plane.token({ labels: { app: name }, serviceAccount: name, addresses });
const told = {
  port: plane.port,
  token: await token(app),
  callerToken: await token("caller"),
};
process.stdout.write(`${JSON.stringify(told)}\n`);

createInterface({ input: process.stdin }).on("line", (line) => {
  plane.madden(isMadness(line) ? line : undefined);
  process.stdout.write(`${line}\n`);
});

function isMadness(line: string): line is Madness {
  return Object.hasOwn(MADNESS, line);
}
