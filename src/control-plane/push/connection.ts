/** One connection's gRPC server: what it serves follows from the identity of the connection, so no call has to find that out (law 13). */
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import {
  Server,
  ServerCredentials,
  status,
  type handleBidiStreamingCall,
  type handleUnaryCall,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import type {
  DeltaRequest,
  EnrolRequest,
  IssueResponse,
  RegisterRequest,
  RegisterResponse,
  RenewRequest,
  Observed,
  Outside,
  ReportRequest,
} from "../../push/messages.ts";
import { LONGEST_REQUEST } from "../../push/names.ts";
import {
  DISCOVERY,
  ENROLMENT,
  REGISTRATION,
  type Empty,
} from "../../push/services.ts";
import { writeInPieces } from "../../runtime/stream-pieces.ts";
import type { StrangerLimits } from "../strangers.ts";
import { GrpcError } from "./grpc.ts";

export interface Handlers {
  readonly deltaAggregatedResources: handleBidiStreamingCall<
    DeltaRequest,
    Buffer
  >;
  readonly enrol: handleUnaryCall<EnrolRequest, IssueResponse>;
  readonly renew: handleUnaryCall<RenewRequest, IssueResponse>;
  readonly register: handleUnaryCall<RegisterRequest, RegisterResponse>;
  readonly deregister: handleUnaryCall<Empty, Empty>;
  readonly report: handleUnaryCall<ReportRequest, Empty>;
  readonly observe: handleUnaryCall<Observed, Empty>;
  readonly observeOutside: handleUnaryCall<Outside, Empty>;
}

interface ConnectionLimits {
  /** Bytes of a message; what is longer ends its stream before it is kept. */
  readonly message: number;
  readonly streams: number;
}

/** A sidecar's: its versions of tens of thousands of resources, and nothing near the memory there is. */
export const PEER_LIMITS: ConnectionLimits = {
  message: LONGEST_REQUEST,
  streams: 4,
};

/** A stranger's: a token and a signing request take 2 KiB. */
export const STRANGER_LIMITS: ConnectionLimits & StrangerLimits = {
  message: 16 * 1024,
  streams: 2,
  perSource: 128,
  together: 512,
  time: 15_000,
  bytes: 256 * 1024,
};

/** Before its handshake begins, when a connection costs a socket and its first bytes. More could wait, but a busy control plane would serve the last of them once they have given up. */
export const WAITING_LIMITS: StrangerLimits = {
  perSource: 256,
  together: 512,
  time: 15_000,
  bytes: 16 * 1024,
};

/** Milliseconds without a call after which a sidecar's connection ends. */
export const IDLE = 60_000;

/** What grpc-js documents leaves out the stream under a call: where it is not found, the call goes on as it is. */
const inPieces: ServerInterceptor = (_method, call) => {
  const stream: unknown = Reflect.get(call, "stream");
  if (stream instanceof Duplex) writeInPieces(stream);
  return call as never;
};

/** Serves the connection until it closes. A server costs 15 µs and 6 KB. */
export function serveConnection(
  socket: TLSSocket,
  handlers: Handlers,
  limits: ConnectionLimits,
): void {
  const server = new Server({
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5000,
    "grpc.max_connection_idle_ms": IDLE,
    "grpc.max_receive_message_length": limits.message,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": limits.streams,
    "grpc.enable_channelz": 0,
    interceptors: [inPieces],
  });
  server.addService(DISCOVERY, {
    DeltaAggregatedResources: handlers.deltaAggregatedResources,
  });
  server.addService(ENROLMENT, {
    Enrol: handlers.enrol,
    Renew: handlers.renew,
  });
  server.addService(REGISTRATION, {
    Register: handlers.register,
    Deregister: handlers.deregister,
    Report: handlers.report,
    Observe: handlers.observe,
    ObserveOutside: handlers.observeOutside,
  });
  const injector = server.createConnectionInjector(
    ServerCredentials.createInsecure(),
  );
  socket.on("close", () => {
    injector.destroy();
    server.forceShutdown();
  });
  injector.injectConnection(socket);
}

/** Everything but enrolment is refused to a caller without a proven identity. */
export function strangerHandlers(
  reason: string,
  enrol: Handlers["enrol"],
): Handlers {
  const refused = (): GrpcError =>
    new GrpcError(status.UNAUTHENTICATED, reason);
  const refuse: handleUnaryCall<unknown, never> = (_call, callback) =>
    callback(refused());
  return {
    deltaAggregatedResources: (call) => call.emit("error", refused()),
    enrol,
    renew: refuse,
    register: refuse,
    deregister: refuse,
    report: refuse,
    observe: refuse,
    observeOutside: refuse,
  };
}
