/** A sidecar whose certificate comes from a SPIFFE Workload API: each one that the agent gives, and none that is not right. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  Server,
  ServerCredentials,
  status,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import t, { type Test } from "tap";
import { startFileAgent } from "../../../src/agent/files/file-agent.ts";
import type { Agent } from "../../../src/agent/agent.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import { readCertificates } from "../../../src/identity/pem.ts";
import { many, messageTypes, one } from "../../../src/push/message-types.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
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
const typeOf = messageTypes({
  X509SVIDResponse: [many(1, "svids", "X509SVID")],
  X509SVID: [
    one(1, "spiffeId", "string"),
    one(2, "x509Svid", "bytes"),
    one(3, "x509SvidKey", "bytes"),
    one(4, "bundle", "bytes"),
  ],
});

const der = (pem: string): Buffer =>
  Buffer.concat(readCertificates(pem, "pem").map(({ raw }) => raw));

function svidOf({
  certificateChain,
  privateKey,
  trustBundle,
}: CredentialPems): object {
  return {
    spiffeId: "",
    x509Svid: der(certificateChain),
    x509SvidKey: createPrivateKey(privateKey).export({
      format: "der",
      type: "pkcs8",
    }),
    bundle: der(trustBundle),
  };
}

function encode(svids: readonly object[]): Buffer {
  const type = typeOf("X509SVIDResponse");
  return Buffer.from(type.encode(type.create({ svids })).finish());
}

interface Api {
  readonly address: string;
  /** What each stream gets first; undefined: it is refused. */
  next: Buffer | undefined;
  streams: number;
  readonly push: (bytes: Buffer) => void;
  readonly cut: () => void;
}

async function startApi(t: Test, directory: string): Promise<Api> {
  const open = new Set<ServerWritableStream<Buffer, Buffer>>();
  const address = `unix://${join(directory, "agent.sock")}`;
  const api: Api = {
    ...{ address, next: undefined, streams: 0 },
    push: (bytes) => open.forEach((call) => call.write(bytes)),
    cut: () =>
      open.forEach((call) =>
        call.emit("error", { code: status.UNAVAILABLE, details: "cut" }),
      ),
  };
  const server = new Server();
  const bytes = (value: Buffer): Buffer => value;
  server.addService(
    {
      FetchX509SVID: {
        ...{ path: "/SpiffeWorkloadAPI/FetchX509SVID" },
        ...{ requestStream: false, responseStream: true },
        ...{ requestSerialize: bytes, requestDeserialize: bytes },
        ...{ responseSerialize: bytes, responseDeserialize: bytes },
      },
    },
    {
      FetchX509SVID: (call: ServerWritableStream<Buffer, Buffer>) => {
        api.streams += 1;
        const [header] = call.metadata.get("workload.spiffe.io");
        if (header !== "true" || api.next === undefined) {
          call.emit("error", {
            code: status.PERMISSION_DENIED,
            details: "no identity issued",
          });
          return;
        }
        open.add(call);
        call.on("close", () => open.delete(call));
        call.on("cancelled", () => open.delete(call));
        call.write(api.next);
      },
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  t.teardown(() => server.forceShutdown());
  return api;
}

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
    const api = await startApi(t, directory);
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
    api.next = encode([svidOf(one), svidOf(other)]);
    const agent = await starting;
    t.teardown(() => agent.close());
    const is = (pems: CredentialPems): boolean =>
      serial(agent) === new X509Certificate(pems.certificateChain).serialNumber;
    t.ok(is(one), "the first of several");
    t.equal(agent.credentials.value?.id, authority.id("web"));

    api.push(encode([svidOf(two)]));
    await until(() => is(two));
    for (const [bad, message] of [
      [{ ...two, privateKey: one.privateKey }, /does not belong/],
      [{ ...two, trustBundle: fakeAuthority().bundle }, /signed by none/],
      [
        authority.issue({ id: "spiffe://cluster.local/web" }),
        /exactly one URI name/,
      ],
    ] as const) {
      api.push(encode([svidOf(bad)]));
      await eventually(agent.state, ({ lastError }) =>
        message.test(lastError ?? ""),
      );
      t.ok(is(two), "the one in use stays");
    }
    // What cannot be read, and a stream that breaks off: the next one brings what there is by then.
    for (const end of [
      () => api.push(Buffer.from("nonsense")),
      () => api.push(encode([])),
      () => api.cut(),
    ]) {
      const { streams } = api;
      api.next = encode([svidOf(three)]);
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
