import t from "tap";
import {
  AgentStatus,
  stateOf,
  type Progress,
} from "../../src/agent/agent-status.ts";
import type { CertificatesFault } from "../../src/agent/enrolment/certificates.ts";
import type { RegistrationState } from "../../src/agent/registration.ts";
import { watchSource } from "../../src/core/watch.ts";

const idle = { source: "none", connected: false } as const;
const config = {
  version: { store: "s", revision: 7, digest: "d" },
  receivedAt: 1000,
};

void t.test("says nothing of what is not there", (t) => {
  t.same(stateOf(idle, undefined, {}, {}), idle);
  t.end();
});

void t.test("shows the config in force and when it came", (t) => {
  t.same(stateOf({ source: "disk", connected: true }, config, {}, {}), {
    source: "disk",
    connected: true,
    version: config.version,
    configReceivedAt: 1000,
  });
  t.end();
});

void t.test("shows the most urgent failure alone", (t) => {
  const both = { ...idle, streamError: "stream", keepError: "keep" };
  const kept = { ...idle, keepError: "keep" };
  const last = (
    progress: Progress,
    fault: CertificatesFault,
    registration: RegistrationState,
  ): unknown => stateOf(progress, undefined, fault, registration).lastError;
  const registration = { error: "registration" };
  t.equal(last(both, { error: "certificate" }, registration), "certificate");
  t.equal(last(both, {}, registration), "stream");
  t.equal(last(kept, {}, registration), "registration");
  t.equal(last(kept, {}, {}), "keep");
  t.end();
});

void t.test("shows an alarm and a registration beside an error", (t) => {
  t.same(
    stateOf(idle, undefined, { error: "e", alarm: "a" }, { registered: "n/w" }),
    { ...idle, registered: "n/w", certificateAlarm: "a", lastError: "e" },
  );
  t.end();
});

void t.test("tells its watchers of each change, also of its parts", (t) => {
  const fault = watchSource<CertificatesFault>({});
  const registration = watchSource<RegistrationState>({});
  const status = new AgentStatus({
    config: { current: undefined },
    fault,
    registration,
  });
  const seen: unknown[] = [];
  status.state.subscribe((state) => seen.push(state));
  status.update({ connected: true });
  fault.set({ error: "e" });
  registration.set({ registered: "n/w" });
  t.same(seen, [
    { source: "none", connected: true },
    { source: "none", connected: true, lastError: "e" },
    { source: "none", connected: true, lastError: "e", registered: "n/w" },
  ]);
  t.end();
});
