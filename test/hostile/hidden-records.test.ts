/** A control plane that has TLS itself read without end is left, and said to be mad. */
import t from "tap";
import { openClient, openStream } from "../../src/agent/connection.ts";
import { systemClock } from "../../src/core/clock.ts";
import { PacedWork } from "../../src/core/paced-work.ts";
import { CONTROL_PLANE } from "../../src/push/names.ts";
import { DISCOVERY } from "../../src/push/services.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import {
  keyUpdates,
  sessionTickets,
} from "../support/hidden-records/records.ts";
import { hiddenServer } from "../support/hidden-records/server.ts";

const mesh = fakeAuthority();
const own = mesh.issue({
  id: mesh.id(CONTROL_PLANE.serviceAccount, CONTROL_PLANE.namespace),
});

for (const [kind, make] of Object.entries({ keyUpdates, sessionTickets }))
  void t.test(kind, async (t) => {
    // A client that was left comes back, and not to the next test.
    const server = await hiddenServer(own);
    t.teardown(() => server.close());
    const flooded = Promise.withResolvers<string>();
    const client = openClient({
      address: `127.0.0.1:${server.port}`,
      trustBundle: mesh.bundle,
      credentials: mesh.credentials("web"),
      maxMessageBytes: 65_536,
      work: new PacedWork({ clock: systemClock, cpu: () => 0 }),
      clock: systemClock,
      onFlood: flooded.resolve,
    });
    t.teardown(() => client.close());
    const stream = openStream(client, DISCOVERY.DeltaAggregatedResources);
    const failed = new Promise<void>((resolve) => {
      stream.on("error", () => resolve());
    });
    const { raw, sender, tls } = await server.accept();
    // What the client says of itself: its handshake is over, on both ends.
    await new Promise<void>((resolve) => {
      tls.once("data", () => resolve());
    });
    // Two tickets of the server's own go ahead.
    raw.write(make({ ...sender, sequence: 2 }, 4000).bytes);
    t.match(
      await flooded.promise,
      /floods its connection with what TLS keeps to itself: more than 65536 bytes/,
    );
    await failed;
    t.pass("the stream fails");
  });
