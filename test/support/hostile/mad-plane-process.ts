/** The process of a control plane that can go mad: it tells its ports and tokens, and takes a madness as the body of a POST, or nothing for none; its response is the number of streams. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { MADNESS, type Madness } from "./madness.ts";
import { startMadPlane } from "./mad-plane.ts";

/** What its first line is. */
export interface MadPlaneTold {
  /** Where sidecars call it, and where it is told what to do. */
  readonly port: number;
  readonly orders: number;
  /** Enrols instances of the application. */
  readonly token: string;
  readonly callerToken: string;
}

const [host = "127.0.0.1", app = "orders", ...addresses] =
  process.argv.slice(2);

const plane = await startMadPlane(host);
const token = (name: string): Promise<string> =>
  plane.token({ labels: { app: name }, serviceAccount: name, addresses });

const server = createServer((request, response) => {
  let mood = "";
  request.on("data", (chunk: Buffer) => (mood += chunk.toString()));
  request.on("end", () => {
    if (request.method === "POST")
      plane.madden(isMadness(mood) ? mood : undefined);
    response.end(String(plane.streams));
  });
});
server.listen(0, host, () => void tell());

async function tell(): Promise<void> {
  const told: MadPlaneTold = {
    port: plane.port,
    orders: (server.address() as AddressInfo).port,
    token: await token(app),
    callerToken: await token("caller"),
  };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

function isMadness(mood: string): mood is Madness {
  return Object.hasOwn(MADNESS, mood);
}
