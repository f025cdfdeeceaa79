/** What one sidecar has in force, resource by resource: from it `wherry explain --at` decides as that sidecar does. */
import Type from "typebox";
import { inSlices, pauses, pieces, type Steps } from "../../../core/slices.ts";
import {
  isQuestion,
  LONGEST_HOST,
  parseInterest,
} from "../../../push/interest.ts";
import {
  CLOSED,
  DNS_LABEL,
  DNS_NAME,
} from "../../../resources/schema-parts.ts";
import type { SidecarConfig } from "../../push/status.ts";
import type { Principal } from "../../tokens.ts";
import { refusal } from "../rights/access.ts";
import type { Api } from "../api.ts";
import { principalOf } from "../rights/authentication.ts";
import { answers } from "../documentation.ts";
import { ApiError } from "../errors.ts";
import { sendLong } from "../long-list.ts";
import type { ApiOptions } from "../options.ts";
import { SIDECAR_CONFIG } from "../schemas.ts";

interface Query {
  readonly ask?: string;
}

interface Params {
  readonly namespace: string;
  readonly name: string;
}

/** A request leads to a host and an address at most. */
const MOST_ASKED = 8;
const LONGEST_ASKED: number = MOST_ASKED * (LONGEST_HOST + 16);

const QUERY = Type.Object(
  {
    ask: Type.Optional(
      Type.String({
        maxLength: LONGEST_ASKED,
        description:
          'Hosts and addresses that the sidecar may not have asked for yet, separated by commas: "Host//orders.shop,Address//10.0.0.1:80". What it would be given for them is among the resources',
      }),
    ),
  },
  CLOSED,
);

export function addSidecarRoutes(
  api: Api,
  { push, store, clock }: ApiOptions,
): void {
  api.get(
    "/sidecars/:namespace/:name/config",
    {
      config: { callers: "namespace-readers", long: true },
      schema: {
        tags: ["mesh"],
        operationId: "getSidecarConfig",
        summary:
          "The resources of the revision that a sidecar acknowledged last, and whether it is the last there is for it",
        params: Type.Object({
          namespace: Type.String(DNS_LABEL),
          name: Type.String(DNS_NAME),
        }),
        querystring: QUERY,
        response: answers({ 200: SIDECAR_CONFIG }, 409, 429),
      },
    },
    async (request, reply) => {
      const { namespace, name } = request.params as Params;
      const principal = principalOf(request);
      const sidecar = push.sidecar(namespace, name);
      if (sidecar === undefined)
        throw new ApiError(
          "NotFound",
          `no sidecar ${namespace}/${name} is connected: GET /status lists those that are`,
        );
      const { ask = "" } = request.query as Query;
      const config = push.configOf(sidecar, questionsIn(ask));
      if (config === undefined)
        throw new ApiError(
          "Conflict",
          `sidecar ${namespace}/${name} has not acknowledged a configuration on its stream yet${sidecar.refused === undefined ? "" : `; it refused the last one: ${sidecar.refused.reason}`}`,
        );
      await inSlices(allReadable(principal, config), pauses(clock));
      const { serviceAccount, labels, identity } = sidecar;
      const body = {
        sidecar: { name, namespace, serviceAccount, labels, identity },
        ...config,
        storeRevision: await store.revision(),
      };
      return sendLong(reply, body, "resources", clock);
    },
  );
}

/** What acts on the sidecar from other namespaces is part of its config, and may not be for this token to see: throws ApiError then. */
function* allReadable(
  principal: Principal,
  { resources }: SidecarConfig,
): Steps<void> {
  for (const piece of pieces(resources)) {
    yield;
    for (const { kind, metadata } of piece) {
      const hidden = refusal(principal, "read", metadata.namespace ?? "");
      if (hidden !== undefined)
        throw new ApiError(
          "Forbidden",
          `${kind} ${metadata.namespace ?? ""}/${metadata.name} is part of what the sidecar has in force: ${hidden}`,
        );
    }
  }
}

/** Throws ApiError. */
function questionsIn(ask: string): readonly string[] {
  const names = ask === "" ? [] : ask.split(",");
  for (const name of names) {
    const interest = parseInterest(name);
    if (interest === undefined || !isQuestion(interest))
      throw new ApiError(
        "BadRequest",
        `ask: invalid name ${JSON.stringify(name)}: expected Host//HOST or Address//IP:PORT`,
      );
  }
  if (names.length > MOST_ASKED)
    throw new ApiError(
      "BadRequest",
      `ask: expected at most ${MOST_ASKED} names`,
    );
  return names;
}
