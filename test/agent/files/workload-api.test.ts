/** A sidecar whose certificate comes from a SPIFFE Workload API: each one that the agent gives, and none that is not right. */
import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { startFileAgent } from "../../../src/agent/files/file-agent.ts";
import type { Agent } from "../../../src/agent/agent.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  encodeSvids,
  startWorkloadApi,
  svidOf,
} from "../../support/certificates/workload-api.ts";
import {
  eventually,
  temporaryDirectory,
  until,
} from "../../support/control-plane/push-control-plane.ts";

const MESH = `apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata:
  name: default
spec:
  authorization:
    defaultAction: ALLOW
`;
const authority = fakeAuthority();
const serial = (agent: Agent): string | undefined => {
  const { value } = agent.credentials;
  return value && new X509Certificate(value.certificateChain).serialNumber;
};

void t.test(
  "the first certificate is waited for, and each one after it is taken",
  async (t) => {
    const directory = await temporaryDirectory(t);
    const resources = join(directory, "mesh.yaml");
    await writeFile(resources, MESH);
    const api = await startWorkloadApi(t, directory);
    const starting = startFileAgent({
      ...{ resources, identity: api.address },
      self: { name: "web-1", labels: { app: "web" } },
      ...{ clock: systemClock, logger: silentLogger },
    });
    await until(() => api.streams > 0);
    const [one, two, three] = [
      authority.issue(),
      authority.issue(),
      authority.issue(),
    ];
    const other = authority.issue({ id: authority.id("other") });
    api.next = encodeSvids([svidOf(one), svidOf(other)]);
    const agent = await starting;
    t.teardown(() => agent.close());
    const is = (pems: CredentialPems): boolean =>
      serial(agent) === new X509Certificate(pems.certificateChain).serialNumber;
    t.ok(is(one), "the first of several");
    t.equal(agent.credentials.value?.id, authority.id("web"));

    api.push(encodeSvids([svidOf(two)]));
    await until(() => is(two));
    for (const [bad, message] of [
      [{ ...two, privateKey: one.privateKey }, /does not belong/],
      [{ ...two, trustBundle: fakeAuthority().bundle }, /signed by none/],
      [
        authority.issue({ id: "spiffe://cluster.local/web" }),
        /exactly one URI name/,
      ],
    ] as const) {
      api.push(encodeSvids([svidOf(bad)]));
      await eventually(agent.state, ({ lastError }) =>
        message.test(lastError ?? ""),
      );
      t.ok(is(two), "the one in use stays");
    }
    // What cannot be read, and a stream that breaks off: the next one brings what there is by then.
    for (const end of [
      () => api.push(Buffer.from("nonsense")),
      () => api.push(encodeSvids([])),
      () => api.cut(),
    ]) {
      const { streams } = api;
      api.next = encodeSvids([svidOf(three)]);
      end();
      await until(() => api.streams > streams && is(three));
      t.ok(is(three));
    }
  },
);

void t.test("a sidecar that stops does not wait for the agent", async (t) => {
  const directory = await temporaryDirectory(t);
  const { openWorkloadApi } =
    await import("../../../src/agent/files/workload-api.ts");
  const api = openWorkloadApi({
    address: `unix://${directory}/none.sock`,
    ...{ clock: systemClock, logger: silentLogger },
  });
  const reading = t.rejects(api.read(), { message: /is stopping/ });
  await api.close();
  await reading;
});
