/** A provider that speaks gRPC: `Check` of `envoy.service.auth.v3.Authorization`, as OPA's plugin for Envoy and others serve it. */
import type { ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../../../core/clock.ts";
import { dashed } from "../../../mesh/field-class.ts";
import type { Provider } from "../../../resources/mesh/providers.ts";
import {
  HeaderRules,
  type Answer,
  type Asked,
  type ProviderClient,
  type Written,
} from "./answer.ts";
import { GrpcChannel, type GrpcServer } from "./grpc-channel.ts";
import { PARTIAL } from "./http-provider.ts";
import type {
  CheckHttp,
  CheckPeer,
  CheckRequest,
  CheckResponse,
  HeaderValue,
  HeaderValueOption,
} from "./messages.ts";

const CHECK = "/envoy.service.auth.v3.Authorization/Check";
export function grpcProvider(
  provider: Provider,
  server: GrpcServer,
  clock: Clock,
): ProviderClient {
  const rules = new HeaderRules(provider);
  const open = (): GrpcChannel => new GrpcChannel(server, clock);
  let channel: GrpcChannel | undefined = open();
  return {
    ask(asked, done) {
      if (channel?.isLost === true) {
        channel.close();
        channel = undefined;
      }
      channel ??= open();
      const ended = channel.ask();
      let over = false;
      let stop = (): void => undefined;
      const settle = (answer: Answer): void => {
        if (over) return;
        over = true;
        ended(true);
        done(answer);
      };
      const failed = (error: unknown): void =>
        settle({ kind: "failed", why: whyOf(error) });
      channel.client
        .then(({ grpc, encode, decode }) => {
          if (over) return;
          const call = grpc.makeUnaryRequest(
            CHECK,
            encode,
            // Read within the call, so that what cannot be read fails it.
            (bytes) => answerOf(decode(bytes), rules),
            checkOf(asked, provider.body?.asBytes ?? false),
            (error: ServiceError | null, answer?: Answer) => {
              if (error !== null || answer === undefined) failed(error);
              else settle(answer);
            },
          );
          stop = () => call.cancel();
        })
        .catch(failed);
      return {
        cancel() {
          if (over) return;
          over = true;
          stop();
          ended(false);
        },
      };
    },
    close() {
      channel?.close();
      channel = undefined;
    },
  };
}

function whyOf(error: unknown): string {
  if (error instanceof Error)
    return "details" in error ? String(error.details) : error.message;
  return "no response";
}

function checkOf(asked: Asked, asBytes: boolean): CheckRequest {
  const { stream, self, port, wall, read } = asked;
  const { peer, remoteAddress, remotePort, localAddress } = stream.connection;
  const seconds = Math.floor(wall / 1000);
  const http = read && httpOf(asked, asBytes);
  return {
    attributes: {
      source: peerOf(remoteAddress, remotePort, peer ?? ""),
      destination: peerOf(localAddress, port, self),
      request: {
        time: { seconds, nanos: (wall - seconds * 1000) * 1_000_000 },
        ...(http === undefined ? {} : { http }),
      },
    },
  };
}

function peerOf(address: string, port: number, principal: string): CheckPeer {
  return { address: { socketAddress: { address, port } }, principal };
}

function httpOf(
  { stream, read, body, partial }: Asked,
  asBytes: boolean,
): CheckHttp {
  const { head, connection } = stream;
  const path = read?.target ?? "";
  // Without what objects inherit: "constructor" is a name that a header can have.
  const headers = Object.assign(Object.create(null) as Record<string, string>, {
    ...{ ":method": head.method, ":path": path },
    ...{ ":authority": head.authority, ":scheme": head.scheme },
  });
  for (const { name, value } of head.fields) {
    const plain = dashed(name);
    if (plain === PARTIAL || plain.startsWith("x-wherry-")) continue;
    const before = headers[name];
    headers[name] =
      before === undefined
        ? value
        : `${before}${name === "cookie" ? "; " : ","}${value}`;
  }
  if (body !== undefined) headers[PARTIAL] = String(partial);
  return {
    method: head.method,
    headers,
    path,
    host: head.authority,
    scheme: head.scheme,
    size: head.contentLength ?? (body === undefined ? -1 : body.length),
    protocol: connection.protocol === "h2" ? "HTTP/2" : "HTTP/1.1",
    ...(body === undefined
      ? {}
      : asBytes
        ? { rawBody: body }
        : { body: body.toString("utf8") }),
  };
}

function answerOf(
  { status, ok, denied }: CheckResponse,
  rules: HeaderRules,
): Answer {
  if (status === null || status.code !== 0)
    return status === null && denied === null
      ? { kind: "failed", why: "its response has no status" }
      : rules.denied(
          denied?.status?.code ?? 0,
          writtenOf(denied?.headers, false),
          denied === null || denied.body === ""
            ? undefined
            : Buffer.from(denied.body, "utf8"),
        );
  if (denied !== null)
    return { kind: "failed", why: "it both allowed and denied" };
  if (ok === null) return rules.allowed([], []);
  if (ok.queryToSet.length > 0 || ok.queryToRemove.length > 0)
    return {
      kind: "failed",
      why: "it asked for another query, and what was judged is what is forwarded",
    };
  return rules.allowed(
    writtenOf(ok.headers, false),
    writtenOf(ok.responseHeaders, true),
    ok.headersToRemove,
  );
}

/** `append`: what holds where it does not say. */
function writtenOf(
  options: readonly HeaderValueOption[] | undefined,
  append: boolean,
): readonly Written[] {
  return (options ?? []).flatMap((option) =>
    option.header === null
      ? []
      : [
          {
            name: option.header.key,
            value: valueOf(option.header),
            append: option.append?.value ?? append,
          },
        ],
  );
}

/** A byte a character, as fields are. */
function valueOf({ value, rawValue }: HeaderValue): string {
  const bytes = value === "" ? rawValue : Buffer.from(value, "utf8");
  return bytes.toString("latin1");
}
