/** Numbers and names of the gRPC statuses (grpc/doc/statuscodes.md); 0 is OK. */
export const GRPC_STATUSES = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcStatusName = keyof typeof GRPC_STATUSES;

/** grpc/doc/http-grpc-status-mapping.md; any other is UNKNOWN. */
const GRPC_OF_HTTP: ReadonlyMap<number, number> = new Map([
  [400, GRPC_STATUSES.INTERNAL],
  [401, GRPC_STATUSES.UNAUTHENTICATED],
  [403, GRPC_STATUSES.PERMISSION_DENIED],
  [404, GRPC_STATUSES.UNIMPLEMENTED],
  [429, GRPC_STATUSES.UNAVAILABLE],
  [502, GRPC_STATUSES.UNAVAILABLE],
  [503, GRPC_STATUSES.UNAVAILABLE],
  [504, GRPC_STATUSES.UNAVAILABLE],
]);

/** What a caller that speaks gRPC learns of an HTTP status. */
export function grpcOfHttp(status: number): number {
  return GRPC_OF_HTTP.get(status) ?? GRPC_STATUSES.UNKNOWN;
}
