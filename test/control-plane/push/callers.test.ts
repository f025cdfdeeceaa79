import { status } from "@grpc/grpc-js";
import t from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import { openClient } from "../../../src/agent/connection.ts";
import { DISCOVERY } from "../../../src/push/services.ts";
import { RESOURCE_TYPE } from "../../../src/push/names.ts";
import { fingerprintOf } from "../../../src/identity/pem.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  service,
  startTestControlPlane,
  startWithOrders,
} from "../../support/control-plane/push-control-plane.ts";
import {
  enrolRaw,
  openRaw,
  REQUEST,
} from "../../support/control-plane/raw-sidecar.ts";

void t.test(
  "nobody streams without a certificate of our CA that is bound to an instance",
  async (t) => {
    const ours = fakeAuthority();
    const binding = { name: "web-1", labels: {} };
    const plane = await startTestControlPlane(t, {
      authority: {
        trustBundle: ours.bundle,
        fingerprint: fingerprintOf(ours.root),
        own: (id) => ours.credentials("control-plane", { id }),
        sign: () => {
          throw new Error("nothing is signed here");
        },
      },
    });
    const good = openRaw(
      t,
      plane.address,
      ours.credentials("web", { binding }),
    );
    await good.push();
    for (const [name, credentials, details] of [
      [
        "another CA's",
        {
          ...fakeAuthority().credentials("web", { binding }),
          trustBundle: ours.bundle,
        },
        /untrusted issuer/,
      ],
      [
        "one without a binding",
        ours.credentials("web"),
        /bound to no workload instance/,
      ],
    ] as const) {
      const sidecar = openRaw(t, plane.address, credentials);
      const end = await sidecar.ended();
      t.equal(end.code, status.UNAUTHENTICATED, name);
      t.match(end.details, details, name);
      t.equal(sidecar.received.length, 0, name);
    }
  },
);

void t.test(
  "a stream that starts with anything but a node and our type is refused",
  async (t) => {
    const plane = await startWithOrders(t);
    const credentials = await enrolRaw(plane, "web-1");
    for (const request of [
      REQUEST,
      {
        ...REQUEST,
        node: { id: "x", metadata: {} },
        typeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
      },
    ]) {
      const sidecar = openRaw(t, plane.address, credentials, { greet: false });
      sidecar.send(request);
      t.match(await sidecar.ended(), {
        code: status.INVALID_ARGUMENT,
        details: new RegExp(RESOURCE_TYPE),
      });
    }
  },
);

void t.test(
  "bytes that are no request end their stream and nothing else",
  async (t) => {
    const plane = await startWithOrders(t);
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    await sidecar.push();
    const credentials = await enrolRaw(plane, "web-2");
    const client = openClient({
      address: plane.address,
      trustBundle: credentials.trustBundle,
      credentials,
      clock: systemClock,
      maxMessageBytes: -1,
    });
    const method = DISCOVERY.DeltaAggregatedResources;
    const code = await new Promise<number>((resolve) => {
      const stream = client.makeBidiStreamRequest(
        method.path,
        () => Buffer.from([0xff, 0xff, 0xff]),
        method.responseDeserialize,
      );
      stream.on("error", () => undefined);
      stream.on("status", (end: { code: number }) => resolve(end.code));
      stream.write(REQUEST);
    });
    client.close();
    t.equal(code, status.INTERNAL);
    await plane.store.put(service("payments"), "absent");
    t.same((await sidecar.push()).names, ["Service/shop/payments"]);
  },
);

void t.test(
  "a closing control plane says so, and its port is free",
  async (t) => {
    const plane = await startWithOrders(t);
    const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
    await sidecar.push();
    await plane.close();
    t.equal((await sidecar.ended()).code, status.UNAVAILABLE);
    const next = await startTestControlPlane(t, { port: plane.port });
    t.equal(next.port, plane.port);
  },
);
