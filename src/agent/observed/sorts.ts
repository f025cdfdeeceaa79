/** The sorts of calls that a sidecar reports: what tells two of them apart, and how they travel. */
import type { MethodDefinition } from "@grpc/grpc-js";
import {
  keyOfObserved,
  keyOfOutside,
  type Counted,
  type ObservedCall,
  type OutsideCall,
} from "../../push/messages.ts";
import { REGISTRATION, type Empty } from "../../push/services.ts";

export interface Countable {
  readonly count: number;
  readonly firstAge: number;
  readonly lastAge: number;
}

export interface Sort<Call extends Countable> {
  readonly method: MethodDefinition<Counted<Call>, Empty>;
  readonly keyOf: (call: Call) => string;
}

/** Those that come in. */
export const INCOMING: Sort<ObservedCall> = {
  method: REGISTRATION.Observe,
  keyOf: keyOfObserved,
};

/** Those that leave the mesh. */
export const OUTSIDE: Sort<OutsideCall> = {
  method: REGISTRATION.ObserveOutside,
  keyOf: keyOfOutside,
};
