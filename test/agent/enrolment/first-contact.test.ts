import t from "tap";
import { findRoot } from "../../../src/agent/enrolment/first-contact.ts";
import { systemClock } from "../../../src/core/clock.ts";

void t.test("a control plane is named with its address in brackets", (t) =>
  t.rejects(
    findRoot({
      host: "::1",
      port: 1,
      fingerprints: [],
      clock: systemClock,
      signal: new AbortController().signal,
    }),
    { message: /^the control plane at \[::1\]:1 cannot be reached: / },
  ),
);
