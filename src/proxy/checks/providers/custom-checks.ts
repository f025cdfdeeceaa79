/** The checks of AuthorizationPolicies with action CUSTOM: each provider that a rule names is asked, and does what its response says. */
import type { Clock } from "../../../core/clock.ts";
import type { Watch } from "../../../core/watch.ts";
import { MeshError } from "../../../mesh/errors.ts";
import { grpcOfHttp } from "../../../mesh/grpc-status.ts";
import {
  unaskable,
  type CustomMatch,
} from "../../../policy/authorization/custom.ts";
import {
  listed,
  reserved,
} from "../../../policy/authorization/provider-headers.ts";
import type { InboundPort, Snapshot } from "../../../policy/snapshot.ts";
import { dashed } from "../../../mesh/field-class.ts";
import type { Provider } from "../../../resources/mesh/providers.ts";
import type { HeaderPair } from "../../../resources/route-filters/schema.ts";
import type { Meters } from "../../../telemetry/meters.ts";
import { isDialogue } from "../../../wire/websocket/handshake.ts";
import type { Check, Question } from "../check.ts";
import type { CheckedRequest } from "../checked-request.ts";
import type { Allowed, Answer, Asking, Denied } from "./answer.ts";
import { ProviderClients } from "./clients.ts";

export interface CustomChecksOptions {
  readonly clock: Clock;
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly meters: Pick<Meters, "providerTime">;
}

export interface CustomChecks {
  /** One a provider that may be asked at the port; none where no policy names one. */
  of(snapshot: Snapshot, port: InboundPort): readonly Check[];
  close(): void;
}

const NONE: readonly Check[] = [];

export function makeCustomChecks(options: CustomChecksOptions): CustomChecks {
  const clients = new ProviderClients(options.snapshot, options.clock);
  // A snapshot's ports are its own: what is made for one is made once.
  const made = new WeakMap<InboundPort, readonly Check[]>();
  return {
    of(snapshot, port) {
      if (port.custom === undefined) return NONE;
      let checks = made.get(port);
      if (checks === undefined) {
        checks = port.custom.providers.map(
          (name) => new ProviderCheck(options, clients, snapshot, name),
        );
        made.set(port, checks);
      }
      return checks;
    },
    close: () => clients.close(),
  };
}

class ProviderCheck implements Check {
  readonly #options: CustomChecksOptions;
  readonly #clients: ProviderClients;
  readonly #name: string;
  readonly #provider: Provider | undefined;
  readonly #isItsOwn: (name: string) => boolean;

  constructor(
    options: CustomChecksOptions,
    clients: ProviderClients,
    { mesh }: Snapshot,
    name: string,
  ) {
    this.#options = options;
    this.#clients = clients;
    this.#name = name;
    this.#provider = mesh.authorization.providers.find(
      (provider) => provider.name === name,
    );
    this.#isItsOwn = listed(this.#provider?.headersToApplication ?? []);
  }

  begin(request: CheckedRequest): Question | MeshError | undefined {
    const match = request.matches.find(
      ({ provider }) => provider === this.#name,
    );
    if (match === undefined) {
      this.#reserve(request);
      return undefined;
    }
    const bytes = request.read === undefined;
    const why = unaskable(request.snapshot, this.#name, bytes);
    if (why !== undefined || this.#provider === undefined)
      return new MeshError("PROVIDER_FAILED", why ?? "", {
        source: "proxy",
        policy: match.policy,
      });
    return this.#question(request, match, this.#provider);
  }

  /** What another check wrote stays, but where this one writes it anew. */
  #reserve(request: CheckedRequest, anew: readonly HeaderPair[] = []): void {
    const remove = reserved(
      request.held.head.fields,
      this.#isItsOwn,
      (name) =>
        request.isWritten(name) &&
        !anew.some((pair) => dashed(pair.name) === dashed(name)),
    );
    if (remove.size > 0) request.edit({ ...NO_EDITS, remove });
    request.held.reserve(this.#isItsOwn);
  }

  #question(
    request: CheckedRequest,
    match: CustomMatch,
    provider: Provider,
  ): Question {
    const { clock, meters } = this.#options;
    const { body, timeout } = provider;
    const seesBody = body !== undefined && !isDialogue(request.held.head);
    let begun = 0;
    let asking: Asking | undefined;
    const told = (result: string): void => {
      meters.providerTime
        .with(provider.name, result)
        .record((clock.now() - begun) / 1000);
      request.asked(provider.name, result);
    };
    const settle = (answer: Answer): MeshError | undefined => {
      told(answer.kind);
      return this.#settle(request, match, provider, answer);
    };
    return {
      timeout,
      body: seesBody
        ? { bytes: body.maxBytes, partial: body.partial }
        : undefined,
      ask: (done) => {
        begun = clock.now();
        asking = this.#clients.of(provider).ask(
          {
            stream: request.held,
            read: request.read,
            self: request.snapshot.self.identity,
            port: request.port.targetPort,
            wall: clock.wall(),
            ...bodyOf(request, seesBody ? body.maxBytes : undefined),
          },
          (answer) => done(() => settle(answer)),
        );
        return asking.cancel;
      },
      late: () => {
        const denied = asking?.denied?.();
        if (denied !== undefined) return settle(denied);
        told("late");
        const why = `no response within ${timeout} ms`;
        return this.#failed(request, match, provider, why);
      },
    };
  }

  #settle(
    request: CheckedRequest,
    match: CustomMatch,
    provider: Provider,
    answer: Answer,
  ): MeshError | undefined {
    switch (answer.kind) {
      case "failed":
        return this.#failed(request, match, provider, answer.why);
      case "denied":
        return denial(match, answer);
      case "allowed":
        this.#allowed(request, answer);
        request.allowed.add(provider.name);
        return undefined;
    }
  }

  #allowed(
    request: CheckedRequest,
    { request: edits, response }: Allowed,
  ): void {
    const written = [...edits.set, ...edits.add];
    this.#reserve(request, written);
    request.edit({ ...NO_EDITS, remove: edits.remove });
    request.edit({ ...edits, remove: NO_EDITS.remove });
    request.wrote(written);
    request.held.editResponse(response);
  }

  /** As the provider's own settings say: refused, or let pass. */
  #failed(
    request: CheckedRequest,
    { policy, rule }: CustomMatch,
    { name, failOpen, statusOnError }: Provider,
    why: string,
  ): MeshError | undefined {
    if (failOpen) {
      this.#reserve(request);
      request.allowed.add(name);
      return undefined;
    }
    return new MeshError(
      "PROVIDER_FAILED",
      `rule ${rule} of ${policy} asks provider ${name}, and it failed: ${why}`,
      {
        source: "proxy",
        policy,
        answer: { status: statusOnError, grpc: grpcOfHttp(statusOnError) },
      },
    );
  }
}

const NO_EDITS = { set: [], add: [], remove: new Set<string>() };

function bodyOf(
  { held }: CheckedRequest,
  most: number | undefined,
): { readonly body: Buffer | undefined; readonly partial: boolean } {
  if (most === undefined) return { body: undefined, partial: false };
  const all = Buffer.concat(held.body);
  return {
    body: all.subarray(0, most),
    partial: all.length > most || !held.complete,
  };
}

function denial(
  { policy, rule, provider }: CustomMatch,
  { status, fields, body }: Denied,
): MeshError {
  return new MeshError(
    "PROVIDER_DENIED",
    `rule ${rule} of ${policy} asks provider ${provider}, and it denies the request`,
    {
      source: "proxy",
      policy,
      answer: {
        ...(status === undefined ? {} : { status, grpc: grpcOfHttp(status) }),
        fields,
        ...(body === undefined ? {} : { body }),
      },
    },
  );
}
