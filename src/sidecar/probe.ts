/** Whether the local application is there: its ports are tried by a TCP connection, at first often, then now and then (law 12). */
import { connect } from "node:net";
import { afterArrivals, type Cancel, type Clock } from "../core/clock.ts";
import { watchSource, type Watch } from "../core/watch.ts";
import { resultOfError, type CheckResult } from "../policy/health.ts";

export interface ProbeOptions {
  readonly clock: Clock;
  readonly address: string;
  /** The application's ports as they are now; none: there is nothing to wait for. */
  readonly ports: () => readonly number[];
}

export interface Probe {
  /** One of the ports took a connection. */
  readonly answers: Watch<boolean>;
  /** Looks often from now on, whether the application is there or not. */
  hurry(): void;
  close(): void;
}

/** Milliseconds between two looks until the application is there, and after. */
const EAGER = 100;
const STEADY = 2000;
const CONNECT_TIMEOUT = 1000;
/** Looks in a row that must fail before an application that was there is taken to be gone. */
const FAILURES = 3;

/** What a look found: whether the application is there, or, where the machine could not look, nothing. */
type Found = CheckResult["kind"];

export function startProbe(options: ProbeOptions): Probe {
  const { clock } = options;
  const answers = watchSource(false);
  let failures = 0;
  let cancel: Cancel | undefined;
  let closed = false;
  let hurried = false;

  const look = async (): Promise<void> => {
    const found = await anyAnswers(options);
    if (closed) return;
    if (found === "healthy") {
      failures = 0;
      answers.set(true);
    } else if (found === "unhealthy") {
      failures += 1;
      if (failures >= FAILURES) answers.set(false);
    }
    const steady = answers.value && failures === 0 && !hurried;
    cancel = clock.after(steady ? STEADY : EAGER, next);
  };
  const next = (): void => {
    cancel = undefined;
    void look();
  };
  next();
  return {
    answers,
    hurry() {
      hurried = true;
      // A look in flight is followed by the next one anyway.
      if (cancel === undefined || closed) return;
      cancel();
      next();
    },
    close() {
      closed = true;
      cancel?.();
    },
  };
}

async function anyAnswers(options: ProbeOptions): Promise<Found> {
  const ports = options.ports();
  if (ports.length === 0) return "healthy";
  const looks = await Promise.all(
    ports.map((port) => lookAt(options.clock, options.address, port)),
  );
  if (looks.includes("healthy")) return "healthy";
  return looks.includes("unknown") ? "unknown" : "unhealthy";
}

function lookAt(clock: Clock, host: string, port: number): Promise<Found> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (found: Found): void => {
      cancel();
      socket.destroy();
      resolve(found);
    };
    const cancel = afterArrivals(clock, CONNECT_TIMEOUT, () =>
      settle("unhealthy"),
    );
    socket.on("connect", () => settle("healthy"));
    socket.on("error", (thrown) => settle(resultOfError(thrown).kind));
  });
}
