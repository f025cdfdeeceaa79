/** The agent's end of a SPIFFE Workload API, which gives what the test says. */
import { createPrivateKey } from "node:crypto";
import { join } from "node:path";
import {
  Server,
  ServerCredentials,
  status,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import type { CredentialPems } from "../../../src/identity/credentials.ts";
import { readCertificates } from "../../../src/identity/pem.ts";
import { many, messageTypes, one } from "../../../src/push/message-types.ts";
import type { Scope } from "../control-plane/push-control-plane.ts";

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

export function svidOf({
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

export function encodeSvids(svids: readonly object[]): Buffer {
  const type = typeOf("X509SVIDResponse");
  return Buffer.from(type.encode(type.create({ svids })).finish());
}

export interface WorkloadApi {
  readonly address: string;
  /** What each stream gets first; undefined: it is refused. */
  next: Buffer | undefined;
  streams: number;
  readonly push: (bytes: Buffer) => void;
  readonly cut: () => void;
}

/** Its socket is in the directory. */
export async function startWorkloadApi(
  t: Scope,
  directory: string,
): Promise<WorkloadApi> {
  const open = new Set<ServerWritableStream<Buffer, Buffer>>();
  const address = `unix://${join(directory, "agent.sock")}`;
  const api: WorkloadApi = {
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
  t.after(() => server.forceShutdown());
  return api;
}
