/** What the figures of a mesh of 1,000 Services and 1,000 streams are meant to be. */
import type { Figure, Line } from "./figures.ts";

export const GOALS_AT = 1000;

export interface Goal {
  readonly line: Line;
  /** Of the figure. */
  readonly name: string;
  readonly bound: "at most" | "at least";
  readonly value: number;
}

export const GOALS: readonly Goal[] = [
  churn("changes that the API took", "at least", 49),
  churn("CPU of the sidecar for it", "at most", 2),
  churn("call p99, beside Services not used", "at most", 1.1),
  churn("failed calls", "at most", 0),
  fleet("streams", "at least", 1000),
  fleet("CPU of the control plane, quiet", "at most", 5),
  fleet("change acknowledged by all, median of ten", "at most", 1000),
  fleet("change acknowledged by all, worst of ten", "at most", 2000),
  // 250 bytes on the wire: gRPC, HTTP/2 and TLS add 36 to a message.
  fleet("endpoint ready or not: bytes of the control plane", "at most", 214),
  fleet("changes that the API took in churn", "at least", 49),
  fleet("CPU of the control plane in churn", "at most", 60),
  fleet("restart: until all have a push again", "at most", 10_000),
  fleet("restart: bytes of the control plane", "at most", 1024),
  fleet("RSS of the control plane", "at most", 381),
  fleet("RSS of the control plane after all came back", "at most", 381),
  crowd("until all are enrolled and registered", "at most", 40_000),
  crowd("longest wait for readiness under lists", "at most", 1000),
  crowd("streams lost under lists", "at most", 0),
  crowd("leases that ran out under lists", "at most", 0),
  crowd("highest RSS of the control plane", "at most", 381),
  crowd("killed: until all are back", "at most", 10_000),
];

function churn(name: string, bound: Goal["bound"], value: number): Goal {
  return { line: "churn", name, bound, value };
}

function crowd(name: string, bound: Goal["bound"], value: number): Goal {
  return { line: "crowd", name, bound, value };
}

function fleet(name: string, bound: Goal["bound"], value: number): Goal {
  return { line: "fleet", name, bound, value };
}

export interface Reached {
  readonly goal: Goal;
  readonly figure: Figure;
  readonly met: boolean;
}

/** Of the goals that there are figures for. */
export function reached(figures: readonly Figure[]): Reached[] {
  return GOALS.flatMap((goal) => {
    const figure = figures.find(
      ({ line, name }) => line === goal.line && name === goal.name,
    );
    if (figure === undefined) return [];
    const met =
      goal.bound === "at most"
        ? figure.value <= goal.value
        : figure.value >= goal.value;
    return [{ goal, figure, met }];
  });
}
