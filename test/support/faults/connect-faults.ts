/** For tests: connections that this process makes to one port fail, as the system would have them fail. */
import { Socket } from "node:net";

export interface ConnectFaults {
  /** Connections that were tried, and those of them that were made to fail. */
  readonly tried: number;
  readonly failed: number;
  /** The others fail no more. */
  release(): void;
}

class Faults implements ConnectFaults {
  tried = 0;
  failed = 0;
  readonly port: number;
  readonly code: string;
  /** How many fail, after how many that do not. */
  readonly most: number;
  readonly after: number;

  constructor(port: number, code: string, most: number, after: number) {
    this.port = port;
    this.code = code;
    this.most = most;
    this.after = after;
  }

  release(): void {
    active.delete(this);
  }
}

const active = new Set<Faults>();
let installed = false;

/** Connections to `port` fail with `code` from now on: `most` of them, once there were `after` others. */
export function failConnects(
  port: number,
  code: string,
  most: number = Infinity,
  after: number = 0,
): ConnectFaults {
  if (!installed) install();
  installed = true;
  const faults = new Faults(port, code, most, after);
  active.add(faults);
  return faults;
}

// The shapes of Node's own functions do not matter here: arguments and results go through as they are.
type Connect = (this: Socket, ...args: unknown[]) => Socket;

function install(): void {
  const shape = Socket.prototype as unknown as { connect: Connect };
  const real = shape.connect;
  shape.connect = function (this: Socket, ...args: unknown[]) {
    const port = portOf(args[0]);
    for (const faults of active) {
      if (faults.port !== port) continue;
      faults.tried += 1;
      if (faults.tried <= faults.after || faults.failed >= faults.most)
        continue;
      faults.failed += 1;
      const error = new Error(`connect ${faults.code} made by a test`);
      process.nextTick(() =>
        this.destroy(Object.assign(error, { code: faults.code })),
      );
      return this;
    }
    return Reflect.apply(real, this, args);
  };
}

/** Of `connect(port)`, `connect({ port })`, or the list that Node makes of either. */
function portOf(first: unknown): number {
  if (Array.isArray(first)) return portOf(first[0]);
  if (typeof first === "object" && first !== null && "port" in first)
    return Number(first.port);
  return Number(first);
}
