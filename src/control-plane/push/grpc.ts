/** From our errors to gRPC statuses, and from promises to its callbacks. */
import { status, type handleUnaryCall } from "@grpc/grpc-js";
import { messageOf } from "../../core/errors.ts";
import { EnrolmentError } from "../enrolment/enrolment-error.ts";
import { RegistrationError } from "../registry/registration-error.ts";
import { StoreError } from "../store/store.ts";

/** What grpc-js turns into the status of a call. */
export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly code: status;
  readonly details: string;

  constructor(code: status, details: string) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

export function unary<Q, S>(
  run: (request: Q) => Promise<S>,
): handleUnaryCall<Q, S> {
  return (call, callback) => {
    run(call.request).then(
      (response) => callback(null, response),
      (thrown: unknown) => callback(asGrpcError(thrown)),
    );
  };
}

const ENROLMENT_CODES: Readonly<Record<EnrolmentError["kind"], status>> = {
  refused: status.PERMISSION_DENIED,
  taken: status.ALREADY_EXISTS,
  invalid: status.INVALID_ARGUMENT,
  limited: status.RESOURCE_EXHAUSTED,
  failed: status.UNAVAILABLE,
};

const REGISTRATION_CODES: Readonly<Record<RegistrationError["kind"], status>> =
  {
    invalid: status.INVALID_ARGUMENT,
    forbidden: status.PERMISSION_DENIED,
    taken: status.ALREADY_EXISTS,
    failed: status.UNAVAILABLE,
  };

/** What went wrong, in a word of a closed set. */
export function failureOf(thrown: unknown): string {
  if (thrown instanceof EnrolmentError || thrown instanceof RegistrationError)
    return thrown.kind;
  return thrown instanceof GrpcError ? "invalid" : "failed";
}

function asGrpcError(thrown: unknown): GrpcError {
  if (thrown instanceof GrpcError) return thrown;
  if (thrown instanceof EnrolmentError)
    return new GrpcError(ENROLMENT_CODES[thrown.kind], thrown.message);
  if (thrown instanceof RegistrationError)
    return new GrpcError(REGISTRATION_CODES[thrown.kind], thrown.message);
  return new GrpcError(
    thrown instanceof StoreError ? status.UNAVAILABLE : status.INTERNAL,
    messageOf(thrown),
  );
}

/** Characters of what a sidecar registers: with 64 ports it has 6,000. What is wrong with more would take seconds to say. */
const LONGEST_SPEC = 16_384;

/** Throws an INVALID_ARGUMENT. */
export function parseSpec(text: string): unknown {
  if (text.length > LONGEST_SPEC)
    throw new GrpcError(
      status.INVALID_ARGUMENT,
      `the spec has ${text.length} characters: expected at most ${LONGEST_SPEC}`,
    );
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new GrpcError(
      status.INVALID_ARGUMENT,
      `the spec is not JSON: ${messageOf(thrown)}`,
    );
  }
}
