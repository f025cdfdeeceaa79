/** For tests: one of the servers that this process has listen fails at it, as the system would have it fail. */
import { Server } from "node:net";

export interface ListenFaults {
  /** Each that was made to listen so far, as often as it was. */
  readonly servers: readonly Server[];
  release(): void;
}

class Faults implements ListenFaults {
  readonly servers: Server[] = [];
  readonly at: number;
  readonly code: string;

  constructor(at: number, code: string) {
    this.at = at;
    this.code = code;
  }

  release(): void {
    active.delete(this);
  }
}

const active = new Set<Faults>();
let installed = false;

/** The one with the number `at`, counted from 1, fails with `code`; none where it is 0. */
export function failListen(at: number, code: string): ListenFaults {
  if (!installed) install();
  installed = true;
  const faults = new Faults(at, code);
  active.add(faults);
  return faults;
}

// The shapes of Node's own functions do not matter here: arguments and results go through as they are.
type Listen = (this: Server, ...args: unknown[]) => Server;

function install(): void {
  const shape = Server.prototype as unknown as { listen: Listen };
  const real = shape.listen;
  shape.listen = function (this: Server, ...args: unknown[]) {
    for (const faults of active) {
      faults.servers.push(this);
      if (faults.servers.length !== faults.at) continue;
      const { code } = faults;
      const error = Object.assign(new Error(`listen ${code}`), { code });
      process.nextTick(() => this.emit("error", error));
      return this;
    }
    return Reflect.apply(real, this, args);
  };
}
