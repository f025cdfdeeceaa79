/** The gRPC services between control plane and sidecar: each method's path and how its messages travel. */
import type { MethodDefinition } from "@grpc/grpc-js";
import {
  deltaRequest,
  empty,
  enrolRequest,
  issueResponse,
  observed,
  outside,
  registerRequest,
  registerResponse,
  renewRequest,
  reportRequest,
  type Codec,
} from "./codec.ts";
import type {
  DeltaRequest,
  EnrolRequest,
  IssueResponse,
  Observed,
  Outside,
  RegisterRequest,
  RegisterResponse,
  RenewRequest,
  ReportRequest,
} from "./messages.ts";

function method<Q, S>(
  path: string,
  request: Codec<Q>,
  response: Codec<S>,
  stream = false,
): MethodDefinition<Q, S> {
  return {
    path,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: (message) => request.encode(message),
    requestDeserialize: (bytes) => request.decode(bytes),
    responseSerialize: (message) => response.encode(message),
    responseDeserialize: (bytes) => response.decode(bytes),
  };
}

/** Responses as bytes on both ends: the control plane shares what it has encoded, and the sidecar counts before it reads. */
const bytes: Codec<Buffer> = {
  encode: (message) => message,
  decode: (message) =>
    Buffer.from(message.buffer, message.byteOffset, message.length),
};

/** Config, over a certificate. */
export const DISCOVERY: {
  readonly DeltaAggregatedResources: MethodDefinition<DeltaRequest, Buffer>;
} = {
  DeltaAggregatedResources: method(
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    deltaRequest,
    bytes,
    true,
  ),
};

/** Certificates: Enrol over a token, Renew over the certificate in use. */
export const ENROLMENT: {
  readonly Enrol: MethodDefinition<EnrolRequest, IssueResponse>;
  readonly Renew: MethodDefinition<RenewRequest, IssueResponse>;
} = {
  Enrol: method("/wherry.push.v1.Enrolment/Enrol", enrolRequest, issueResponse),
  Renew: method("/wherry.push.v1.Enrolment/Renew", renewRequest, issueResponse),
};

export type Empty = Readonly<Record<string, never>>;

/** The lease of a workload, what its sidecar has seen of those whose leases have run out, the calls that it gets, and those that leave the mesh, over a certificate. */
export const REGISTRATION: {
  readonly Register: MethodDefinition<RegisterRequest, RegisterResponse>;
  readonly Deregister: MethodDefinition<Empty, Empty>;
  readonly Report: MethodDefinition<ReportRequest, Empty>;
  readonly Observe: MethodDefinition<Observed, Empty>;
  readonly ObserveOutside: MethodDefinition<Outside, Empty>;
} = {
  Register: method(
    "/wherry.push.v1.Registration/Register",
    registerRequest,
    registerResponse,
  ),
  Deregister: method("/wherry.push.v1.Registration/Deregister", empty, empty),
  Report: method("/wherry.push.v1.Registration/Report", reportRequest, empty),
  Observe: method("/wherry.push.v1.Registration/Observe", observed, empty),
  ObserveOutside: method(
    "/wherry.push.v1.Registration/ObserveOutside",
    outside,
    empty,
  ),
};
