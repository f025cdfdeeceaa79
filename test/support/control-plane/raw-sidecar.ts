/** For tests: a sidecar that does only what the test says, down to the single message. */
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { openClient, openStream } from "../../../src/agent/connection.ts";
import { enrol } from "../../../src/agent/enrolment/enrol.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { watchSource } from "../../../src/core/watch.ts";
import type { Credentials } from "../../../src/identity/credentials.ts";
import { revision } from "../../../src/push/codec.ts";
import type {
  DeltaRequest,
  DeltaResponse,
  Revision,
} from "../../../src/push/messages.ts";
import { RESOURCE_TYPE, REVISION_TYPE } from "../../../src/push/names.ts";
import { DISCOVERY } from "../../../src/push/services.ts";
import {
  eventually,
  type Scope,
  type TestControlPlane,
} from "./push-control-plane.ts";
import { deltaResponse } from "./delta-response.ts";

export const REQUEST: DeltaRequest = {
  node: undefined,
  typeUrl: RESOURCE_TYPE,
  subscribe: [],
  unsubscribe: [],
  initialVersions: new Map(),
  nonce: "",
  error: undefined,
};

export interface RawSidecar {
  readonly credentials: Credentials;
  readonly received: readonly DeltaResponse[];
  /** The next message that was not looked at yet. */
  next(): Promise<DeltaResponse>;
  /** Takes everything up to and with the next Revision; acknowledges all of it, or refuses the Revision with a reason. */
  push(refuse?: string): Promise<{
    revision: Revision;
    names: string[];
    removed: string[];
    messages: number;
  }>;
  send(request: Partial<DeltaRequest>): void;
  /** The status that ended the stream. */
  ended(): Promise<{ code: number; details: string }>;
  close(): void;
}

export function enrolRaw(
  plane: TestControlPlane,
  name: string,
): Promise<Credentials> {
  return plane.token().then((token) =>
    enrol({
      address: plane.address,
      token,
      name,
      clock: systemClock,
      signal: new AbortController().signal,
    }),
  );
}

export interface RawOptions {
  readonly metadata?: Record<string, string>;
  readonly initialVersions?: ReadonlyMap<string, string>;
  /** Everything where absent. */
  readonly subscribe?: readonly string[];
  /** False: the test sends the first request. */
  readonly greet?: boolean;
}

export function openRaw(
  t: Scope,
  address: string,
  credentials: Credentials,
  options: RawOptions = {},
): RawSidecar {
  const client = openClient({
    address,
    trustBundle: credentials.trustBundle,
    credentials,
    clock: systemClock,
    maxMessageBytes: -1,
  });
  const stream: ClientDuplexStream<DeltaRequest, Buffer> = openStream(
    client,
    DISCOVERY.DeltaAggregatedResources,
  );
  const received: DeltaResponse[] = [];
  const count = watchSource(0);
  const end = watchSource<{ code: number; details: string } | undefined>(
    undefined,
  );
  let read = 0;
  stream.on("data", (bytes: Buffer) => {
    received.push(deltaResponse.decode(bytes));
    count.set(received.length);
  });
  stream.on("error", () => undefined);
  stream.on("status", ({ code, details }: { code: number; details: string }) =>
    end.set({ code, details }),
  );
  const send = (request: Partial<DeltaRequest>): void => {
    stream.write({ ...REQUEST, ...request });
  };
  const next = async (): Promise<DeltaResponse> => {
    await eventually(count, (there) => there > read);
    const message = received[read];
    read += 1;
    if (message === undefined) throw new Error("no message");
    return message;
  };
  if (options.greet !== false)
    send({
      node: { id: "shop/raw", metadata: options.metadata ?? {} },
      subscribe: options.subscribe ?? ["*"],
      initialVersions: options.initialVersions ?? new Map(),
    });
  const close = (): void => {
    stream.cancel();
    client.close();
  };
  t.after(close);
  return {
    credentials,
    received,
    next,
    send,
    close,
    async push(refuse) {
      const names: string[] = [];
      const removed: string[] = [];
      for (let messages = 1; ; messages += 1) {
        const message = await next();
        if (message.typeUrl !== REVISION_TYPE) {
          names.push(...message.resources.map(({ name }) => name));
          removed.push(...message.removed);
          send({ typeUrl: message.typeUrl, nonce: message.nonce });
          continue;
        }
        send({
          typeUrl: message.typeUrl,
          nonce: message.nonce,
          error:
            refuse === undefined ? undefined : { code: 3, message: refuse },
        });
        const [resource] = message.resources;
        if (resource === undefined) throw new Error("no Revision");
        return {
          revision: revision.decode(resource.value),
          names,
          removed,
          messages,
        };
      }
    },
    async ended() {
      const status = await eventually(end, (value) => value !== undefined);
      if (status === undefined) throw new Error("no status");
      return status;
    },
  };
}
