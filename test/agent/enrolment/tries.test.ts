/** How often a sidecar without a certificate asks for one. */
import t from "tap";
import { startCertificates } from "../../../src/agent/enrolment/certificates.ts";
import { openStateDirectory } from "../../../src/agent/state-directory.ts";
import { silentLogger } from "../../../src/core/log.ts";
import {
  temporaryDirectory,
  until,
} from "../../support/control-plane/push-control-plane.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const SECOND = 1000;

const ROWS: readonly (readonly [
  string,
  () => Promise<string>,
  readonly number[],
])[] = [
  [
    "what may be over soon is tried every 10 s",
    () => Promise.reject(new Error("the disk fails")),
    [0.5, 1, 2, 4, 8, 10, 10, 10],
  ],
  [
    "what takes a person's hand is tried every minute",
    () => Promise.resolve("not a token"),
    [0.5, 1, 2, 4, 8, 16, 32, 60],
  ],
];

for (const [what, token, waits] of ROWS)
  void t.test(what, async (t) => {
    const clock = fakeClock({ random: () => 1 });
    const tries: number[] = [];
    const certificates = await startCertificates({
      address: "127.0.0.1:1",
      token() {
        tries.push(clock.now());
        return token();
      },
      name: "web-1",
      directory: await openStateDirectory(await temporaryDirectory(t)),
      rotateAt: () => 0.5,
      clock,
      logger: silentLogger,
    });
    t.after(() => certificates.close());
    await until(() => {
      // Nothing else has a timer: between two tries alone does time go on.
      if (clock.pending > 0) clock.advance(SECOND / 2);
      return tries.length > waits.length;
    });
    t.same(
      waits.map((_, index) => (tries[index + 1] ?? 0) - (tries[index] ?? 0)),
      waits.map((seconds) => seconds * SECOND),
    );
  });
